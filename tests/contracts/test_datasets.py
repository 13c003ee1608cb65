"""Every data set, found by name: what it offers, and that damage to a release is always reported.

A small synthetic release is damaged in one place and packed by its own stage. The stage has to raise a UserError, or
to pack every item that it does not reject. Contact sheets are not written, and every image counts as a face: both
have tests of their own and would take most of the time.
"""

import io
import re
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from releases import bring, in_parts, tar_gz, zip_bytes

import stages.detectors
from pipelines import profile
from stages import crop, detect, index
from stages.preparation import contact_sheets
from stages.runtime import config, lists, plugins, tables, workers
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
DETECTORS = Path(__file__).parent / "detectors"
NAMES = plugins.names("stages.datasets")
PARAMS = config.parsed(profile.text("sample", ROOT / "profiles"), "sample")
TINY: dict[str, dict[str, Any]] = {
    "affectnet": {"training": 6, "validation": 4},
    "aflw": {"images": 10},
    "emotionet": {"automatic": 6, "manual": 4},
    "mafl": {"training": 3, "testing": 3},
    "voxceleb1": {"identities": 2, "tracks_per_identity": 2, "seconds": 0.8},
    "voxceleb2": {"identities": 2, "tracks_per_identity": 1, "seconds": 0.4, "parts": 2},
    "w300": {"training": 3, "common": 2, "challenging": 2},
}
IMAGES = (".jpg", ".png")
LISTS = (".csv", ".txt")


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_names_its_kind_its_files_its_owner_and_its_labels(name):
    module = plugins.load("stages.datasets", name)
    assert module.KIND in lists.KINDS
    assert isinstance(module.EXPECTED, str)
    assert isinstance(module.OWNER, str)
    assert all(isinstance(kind, pa.DataType) for kind in module.LABELS.values())
    assert not set(module.LABELS) & set(tables.FACES.names)


@pytest.mark.parametrize("name", NAMES)
def test_names_on_contact_sheets_are_those_of_the_tasks(name):
    tasks = config.load(ROOT / "params.yaml").dataset[name].tasks  # which has those that a user adds
    module = plugins.load("stages.datasets", name)
    for label, names in getattr(module, "NAMES", {}).items():
        kind = module.LABELS[label]
        assert not pa.types.is_fixed_size_list(kind) or kind.list_size == len(names)
        classes = [task.classes for task in tasks.values() if task.label == label]
        assert list(names) in classes


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_release_is_a_user_error(name, tmp_path):
    (tmp_path / "manifest.json").write_text('{"dataset": "x", "source": "folder", "files": []}')
    with pytest.raises(UserError, match="should hold"):
        plugins.load("stages.datasets", name).read(tmp_path)


def test_no_profile_trains_on_celeba_since_mafl_is_part_of_it():
    for of in profile.names(ROOT / "profiles"):
        trained_on = config.parsed(profile.text(of, ROOT / "profiles"), of).track_sets
        assert set(trained_on) <= {"own_videos", "voxceleb1", "voxceleb2"}
        assert not any("elebA" in (ROOT / "stages" / "datasets" / f"{name}.py").read_text() for name in trained_on)


def run(name: str, release: Path, work: Path) -> tuple[set[str], list[dict[str, str]]]:
    """Keys of the items that the data set's own stage packs (tracks where there are tracks), and its rejects."""
    stage: ModuleType = crop if name in PARAMS.track_sets else detect if name in PARAMS.detected_sets else index
    shutil.rmtree(work, ignore_errors=True)
    settings = {
        "crop": {"crop": PARAMS.crop, "geometry": PARAMS.dataset[name].crop},
        "detect": {"detect": PARAMS.detect.model_copy(update={"detector": "whole_image", "upsample": [0]})},
        "index": {"index": PARAMS.index, "box": PARAMS.dataset[name].index},
    }[stage.__name__.split(".")[1]]
    raw = bring(name, release, work / "raw")
    stage.run(dataset=name, raw=raw, out=work / "out", sheets=work / "sheets", journal=work / "journal", **settings)
    packed = tables.read(work / "out" / "index.parquet")
    rejects = tables.read(work / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    return set(packed["track_id" if stage is crop else "sample_id"].to_pylist()), rejects


@dataclass(frozen=True)
class Intact:
    """An undamaged release, and what its stage makes of it."""

    name: str
    release: Path
    packed: set[str]
    rejects: list[dict[str, str]]

    def copy(self, folder: Path, *, boxes: bool = False) -> Path:
        """A copy in `folder`; the box files of 300-W, which another process reads and nobody needs, only if `boxes`."""
        copy = shutil.copytree(self.release, folder / "release")
        if not boxes:
            shutil.rmtree(copy / "Bounding Boxes", ignore_errors=True)
        return copy


@pytest.fixture(scope="module", params=plugins.names("stages.synthetic"))
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intact]:
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "available", lambda: 1)
        patch.setattr(contact_sheets, "write", lambda *_, out, **__: out.mkdir(exist_ok=True))
        patch.setattr(stages.detectors, "__path__", [*stages.detectors.__path__, str(DETECTORS)])
        patch.setattr(stages.detectors.__spec__, "submodule_search_locations", stages.detectors.__path__)
        (folder / "release").mkdir()
        publisher = plugins.load("stages.synthetic", name)
        settings = TINY.get(name, PARAMS.dataset[name].synthetic)
        publisher.publish(folder / "release", publisher.Params(**settings), seed=3)
        packed, rejects = run(name, folder / "release", folder / "work")
        yield Intact(name, folder / "release", packed, rejects)


def check(intact: Intact, damaged: Path, *, by_key: bool = False) -> None:
    """The release in `damaged` is a UserError of one line, or every item that is no longer packed has a reject.

    With `by_key`, items are lost and each has a reject of its own.
    """
    try:
        packed, rejects = run(intact.name, damaged, damaged.parent / "work")
    except UserError as error:
        message = str(error)
    else:
        check_rejects(intact, packed, rejects, by_key=by_key)
        return
    assert "\n" not in message


def check_rejects(intact: Intact, packed: set[str], rejects: list[dict[str, str]], *, by_key: bool) -> None:
    lost = intact.packed - packed
    further = [row for row in rejects if row not in intact.rejects]
    assert all(row["kind"] for row in rejects)
    assert not lost or further, f"lost without a reject: {sorted(lost)}"
    if by_key:
        assert lost
        assert lost <= {row["key"] for row in further}


def annotations(release: Path) -> list[Path]:
    """Lists, archives and databases, relative to `release`; the first .pts and the first .mat file for all others."""
    files = [path for path in sorted(release.rglob("*")) if path.is_file() and path.suffix not in IMAGES]
    first = {path.suffix if path.suffix in (".pts", ".mat") else path: path for path in reversed(files)}
    return sorted(path.relative_to(release) for path in first.values())


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "another format": lambda data: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
    "a row cut in half": lambda data: data[: len(data) // 2 - 3],  # half of MAFL's lists would be whole rows
    "without its last bytes": lambda data: data[:-7],
    "not UTF-8": lambda data: data[: len(data) // 2] + b"\xff\xfe\xe9\x80" + data[len(data) // 2 :],
    "an HTML page": lambda data: b"<!doctype html><html><body><h1>404 Not Found</h1></body></html>\n",
    "a third set to zero": lambda data: data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * len(data) // 3 :],
}


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_list_archive_or_database_is_reported(how, intact, tmp_path):
    for number, path in enumerate(annotations(intact.release)):
        damaged = intact.copy(tmp_path / str(number), boxes=path.suffix == ".mat")
        (damaged / path).write_bytes(DAMAGE[how]((damaged / path).read_bytes()))
        check(intact, damaged)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["nan", "1e400", "-99999999999999999999", "x", ""])
def test_a_wrong_number_is_reported(wrong, intact, tmp_path):
    """Every number in the middle line of a list, or one number of several faces in a database."""
    for number, path in enumerate(annotations(intact.release)):
        damaged = intact.copy(tmp_path / str(number))
        if path.suffix == ".sqlite":
            damage_database(damaged / path, wrong)
        elif path.suffix in (*LISTS, ".pts"):
            lines = (damaged / path).read_text().split("\n")
            middle = len(lines) // 2
            lines[middle] = re.sub(r"(?<![\w./])-?\d+(\.\d+)?(?![\w./])", wrong, lines[middle])
            (damaged / path).write_text("\n".join(lines))
        else:
            continue
        check(intact, damaged)


def damage_database(path: Path, wrong: str) -> None:
    """`wrong` in another column of each of the first faces."""
    columns = (("FacePose", "yaw"), ("FaceRect", "x"), ("FaceRect", "w"), ("FacePose", "roll"))
    with sqlite3.connect(path) as connection:
        faces = [row[0] for row in connection.execute("SELECT face_id FROM FacePose ORDER BY face_id")]
        for face, (table, column) in zip(faces, columns, strict=False):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE face_id = ?", (wrong, face))
    connection.close()


@pytest.mark.slow
def test_a_list_that_names_every_item_twice_gives_every_item_once(intact, tmp_path):
    lists = [path for path in annotations(intact.release) if path.suffix in LISTS]
    if not lists:
        pytest.skip("has no list")
    for path in lists:
        folder = intact.copy(tmp_path / path.stem)
        text = (folder / path).read_text()
        (folder / path).write_text(text.rstrip("\n") + "\n" + text)
        packed, _ = run(intact.name, folder, folder.parent / "work")
        assert packed == intact.packed


def bmp(side_px: int) -> bytes:
    return b"BM" + bytes(16) + side_px.to_bytes(4, "little") * 2 + bytes(64)


MEDIA: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda data: None,
    "empty": lambda data: b"",
    "not an image": lambda data: b"<html>404</html>",
    "cut in half": lambda data: data[: len(data) // 2],
    "50,000 x 50,000 px": lambda data: bmp(50_000),
    "0 x 0 px": lambda data: bmp(0),
    "0 x 0 px as PNG": lambda data: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", MEDIA)
def test_a_damaged_image_or_clip_is_a_reject_of_its_own(how, intact, tmp_path):
    if how == "missing" and intact.name in PARAMS.track_sets:
        pytest.skip("only the archive itself lists its tracks")
    damaged, damage = intact.copy(tmp_path), MEDIA[how]
    if intact.name == "voxceleb1":
        path = damaged / "dense-face-frames.tar.gz"
        tar_gz(path, damage_first_track(tar_members(path), damage))
        check(intact, damaged)
    elif intact.name == "voxceleb2":
        members = damage_first_track(zip_members(damaged), damage)
        in_parts(damaged, "vox2_dev_mp4", zip_bytes(members), TINY["voxceleb2"]["parts"])
        check(intact, damaged, by_key=True)
    else:
        path = packed_image(intact, damaged)
        data = damage(path.read_bytes())
        path.unlink() if data is None else path.write_bytes(data)
        check(intact, damaged, by_key=True)


def packed_image(intact: Intact, folder: Path) -> Path:
    """The first image of a face that is packed."""
    images = [path for path in sorted(folder.rglob("*")) if path.suffix in IMAGES]
    return next(
        path for path in images
        for key in intact.packed
        if key in path.as_posix() or path.as_posix().endswith((f"/{key.rpartition('/')[0]}", f"/{key}{path.suffix}"))
    )  # fmt: skip


def damage_first_track(members: dict[str, bytes], damage: Callable[[bytes], bytes | None]) -> dict[str, bytes]:
    """`members` with damage to all frames in the first member's folder, or to the clip that it is."""
    first = next(iter(members))
    track = first if first.endswith(".mp4") else first.rpartition("/")[0]
    changed = {name: damage(data) if name.startswith(track) else data for name, data in members.items()}
    return {name: data for name, data in changed.items() if data is not None}


def tar_members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {info.name: file.read() for info in archive if (file := archive.extractfile(info)) is not None}


def zip_members(folder: Path) -> dict[str, bytes]:
    joined = b"".join(path.read_bytes() for path in sorted(folder.glob("vox2_dev_mp4_part*")))
    with zipfile.ZipFile(io.BytesIO(joined)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}
