"""Every data set, found by name: what it offers, and that nothing in a damaged release crashes or goes unsaid.

A small release of each that the sample publishes is made, then spoilt in one place and packed by its own stage. Each
time the stage ends in one sentence, or every item is packed or stands in the rejects.
"""

import io
import re
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from releases import bring, in_parts, tar_gz, zip_bytes

from pipelines import profile
from stages import crop, detect, index
from stages.runtime import config, plugins, tables, workers
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
NAMES = plugins.names("stages.datasets")
PARAMS = config.load(ROOT / "profiles" / "sample.yaml")
TINY: dict[str, dict[str, Any]] = {
    "affectnet": {"training": 10, "validation": 8},
    "aflw": {"images": 10},
    "emotionet": {"automatic": 8, "manual": 5},
    "mafl": {"training": 5, "testing": 4},
    "voxceleb1": {"identities": 2, "tracks_per_identity": 2, "seconds": 0.8},
    "voxceleb2": {"identities": 2, "tracks_per_identity": 2, "seconds": 0.4, "parts": 2},
    "w300": {"training": 6, "common": 3, "challenging": 2},
}
PICTURES = (".jpg", ".png")
DATABASE = b"SQLite format 3\0"


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_says_what_it_expects_and_which_labels_it_gives(name):
    module = plugins.load("stages.datasets", name)
    assert isinstance(module.EXPECTED, str)
    assert isinstance(module.OWNER, str)
    assert all(isinstance(kind, pa.DataType) for kind in module.LABELS.values())
    assert not set(module.LABELS) & set(tables.FACES.names)


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_answers_an_empty_release_with_one_sentence(name, tmp_path):
    (tmp_path / "manifest.json").write_text('{"dataset": "x", "source": "folder", "files": []}')
    with pytest.raises(UserError, match="should hold"):
        plugins.load("stages.datasets", name).read(tmp_path)


def test_nothing_trains_on_celeba_since_mafl_is_a_part_of_it():
    for of in profile.names(ROOT / "profiles"):
        trained_on = config.parsed(profile.text(of, ROOT / "profiles"), of).track_sets
        assert set(trained_on) <= {"voxceleb1", "voxceleb2"}
        assert not any("elebA" in (ROOT / "stages" / "datasets" / f"{name}.py").read_text() for name in trained_on)


def run(name: str, release: Path, work: Path) -> tuple[set[str], list[dict[str, str]]]:
    """Keys of what the data set's own stage packs (tracks where there are tracks), and its rejects."""
    stage: ModuleType = crop if name in PARAMS.track_sets else detect if name in PARAMS.detected_sets else index
    shutil.rmtree(work, ignore_errors=True)
    settings = {
        "crop": {"crop": PARAMS.crop, "geometry": PARAMS.dataset[name].crop},
        "detect": {"detect": PARAMS.detect.model_copy(update={"upsample": [0]})},
        "index": {"index": PARAMS.index, "box": PARAMS.dataset[name].index},
    }[stage.__name__.split(".")[1]]
    raw = bring(name, release, work / "raw")
    stage.run(dataset=name, raw=raw, out=work / "out", sheets=work / "sheets", journal=work / "journal", **settings)
    packed = tables.read(work / "out" / "index.parquet")
    rejects = tables.read(work / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    return set(packed["track_id" if stage is crop else "sample_id"].to_pylist()), rejects


@pytest.fixture(scope="module", params=plugins.names("stages.synthetic"))
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A release, with what is packed and rejected of it before it is spoilt."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "available", lambda: 1)
        (folder / "release").mkdir()
        publisher = plugins.load("stages.synthetic", name)
        settings = TINY.get(name, PARAMS.dataset[name].synthetic)
        publisher.publish(folder / "release", publisher.Params(**settings), seed=3)
        kept, rejects = run(name, folder / "release", folder / "work")
        yield {"name": name, "release": folder / "release", "kept": kept, "rejects": rejects}


def check(intact: dict[str, Any], folder: Path, *, by_key: bool = False) -> None:
    """The spoilt release in `folder` ends in one sentence, or what it no longer packs stands in the rejects."""
    try:
        kept, rejects = run(intact["name"], folder, folder.parent / "work")
    except UserError as error:
        sentence = str(error)
    else:
        check_rejects(intact, kept, rejects, by_key=by_key)
        return
    assert "\n" not in sentence


def check_rejects(intact: dict[str, Any], kept: set[str], rejects: list[dict[str, str]], *, by_key: bool) -> None:
    lost = intact["kept"] - kept
    further = [row for row in rejects if row not in intact["rejects"]]
    assert all(row["reason"] for row in rejects)
    assert not lost or further, f"lost without a word: {sorted(lost)}"
    if by_key:
        assert lost
        assert lost <= {row["key"] for row in further}


def copy(intact: dict[str, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact["release"], tmp_path / "release"))


def annotations(folder: Path) -> list[Path]:
    """Lists, archives and databases; of many of a kind in one folder the first."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in PICTURES]
    first = {(path.parent, path.suffix) if path.suffix in (".pts", ".mat") else path: path for path in reversed(found)}
    return sorted(first.values())


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "an empty file": lambda data: b"",
    "a file of another format": lambda data: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
    "rows cut in half": lambda data: data[: len(data) // 2 - 3],  # half of MAFL's lists would be whole rows
    "a file without its last bytes": lambda data: data[:-7],
    "bytes that are no UTF-8": lambda data: data[: len(data) // 2] + b"\xff\xfe\xe9\x80" + data[len(data) // 2 :],
    "a page for a file": lambda data: b"<!doctype html><html><body><h1>404 Not Found</h1></body></html>\n",
    "zeros for a part": lambda data: data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * len(data) // 3 :],
}


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_list_archive_or_database_is_said(how, intact, tmp_path):
    for number, path in enumerate(annotations(intact["release"])):
        folder = copy(intact, tmp_path / str(number))
        spoilt = folder / path.relative_to(intact["release"])
        spoilt.write_bytes(SPOILT[how](path.read_bytes()))
        check(intact, folder)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["nan", "1e400", "-99999999999999999999", "x", ""])
def test_a_wrong_number_is_said(wrong, intact, tmp_path):
    """In the middle line of every list every number is replaced, and nothing else."""
    for number, path in enumerate(annotations(intact["release"])):
        folder = copy(intact, tmp_path / str(number))
        spoilt = folder / path.relative_to(intact["release"])
        data = path.read_bytes()
        if data.startswith(DATABASE):
            spoil_database(spoilt, wrong)
        elif path.suffix in (".csv", ".txt", ".pts"):
            lines = data.decode().split("\n")
            middle = len(lines) // 2
            lines[middle] = re.sub(r"(?<![\w./])-?\d+(\.\d+)?(?![\w./])", wrong, lines[middle])
            spoilt.write_text("\n".join(lines))
        check(intact, folder)


def spoil_database(path: Path, wrong: str) -> None:
    """Another number in every column of some face."""
    with sqlite3.connect(path) as connection:
        faces = [row[0] for row in connection.execute("SELECT face_id FROM FacePose ORDER BY face_id")]
        for face, (table, column) in zip(
            faces, (("FacePose", "yaw"), ("FaceRect", "x"), ("FaceRect", "w"), ("FacePose", "roll")), strict=False
        ):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE face_id = ?", (wrong, face))
    connection.close()


@pytest.mark.slow
def test_a_list_that_names_everything_twice_gives_everything_once(intact, tmp_path):
    for number, path in enumerate(annotations(intact["release"])):
        if path.suffix not in (".csv", ".txt"):
            continue
        folder = copy(intact, tmp_path / str(number))
        text = path.read_text()
        (folder / path.relative_to(intact["release"])).write_text(text.rstrip("\n") + "\n" + text)
        kept, _ = run(intact["name"], folder, folder.parent / "work")
        assert kept == intact["kept"]


def bmp(side_px: int) -> bytes:
    return b"BM" + bytes(16) + side_px.to_bytes(4, "little") * 2 + bytes(64)


MEDIA: dict[str, Callable[[bytes], bytes | None]] = {
    "no file": lambda data: None,
    "an empty file": lambda data: b"",
    "no picture": lambda data: b"<html>404</html>",
    "cut in half": lambda data: data[: len(data) // 2],
    "50,000 x 50,000 px": lambda data: bmp(50_000),
    "0 x 0 px": lambda data: bmp(0),
    "0 x 0 px as PNG": lambda data: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", MEDIA)
def test_a_spoilt_picture_or_clip_is_a_reject_of_its_own(how, intact, tmp_path):
    if how == "no file" and intact["name"] in PARAMS.track_sets:
        pytest.skip("nothing but the archive lists its tracks")
    folder = copy(intact, tmp_path)
    spoil = MEDIA[how]
    if intact["name"] == "voxceleb1":
        path = folder / "dense-face-frames.tar.gz"
        tar_gz(path, spoil_first_track(tar_members(path), spoil))
        check(intact, folder)
    elif intact["name"] == "voxceleb2":
        members = spoil_first_track(zip_members(folder), spoil)
        in_parts(folder, "vox2_dev_mp4", zip_bytes(members), TINY["voxceleb2"]["parts"])
        check(intact, folder, by_key=True)
    else:
        path = picture_of(intact, folder)
        spoilt = spoil(path.read_bytes())
        path.unlink() if spoilt is None else path.write_bytes(spoilt)
        check(intact, folder, by_key=True)


def picture_of(intact: dict[str, Any], folder: Path) -> Path:
    """The picture of some face that is packed."""
    pictures = [path for path in sorted(folder.rglob("*")) if path.suffix in PICTURES]
    return next(
        path for path in pictures
        for key in intact["kept"]
        if key in path.as_posix() or path.as_posix().endswith((f"/{key.rpartition('/')[0]}", f"/{key}{path.suffix}"))
    )  # fmt: skip


def spoil_first_track(members: dict[str, bytes], spoil: Callable[[bytes], bytes | None]) -> dict[str, bytes]:
    """All members of the first member's folder, or the clip that it is."""
    first = next(iter(members))
    place = first if first.endswith(".mp4") else first.rpartition("/")[0]
    changed = {name: spoil(data) if name.startswith(place) else data for name, data in members.items()}
    return {name: data for name, data in changed.items() if data is not None}


def tar_members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {info.name: file.read() for info in archive if (file := archive.extractfile(info)) is not None}


def zip_members(folder: Path) -> dict[str, bytes]:
    joined = b"".join(path.read_bytes() for path in sorted(folder.glob("vox2_dev_mp4_part*")))
    with zipfile.ZipFile(io.BytesIO(joined)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}
