"""`fabnet crops` as a user meets it: faces as images, with an index."""

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from media_samples import drawn_faces
from own_samples import FACE, TWO, fabnet, image_file, moving, video
from pyarrow import csv

from pipelines.own import crops, tabulate

KEYS = ["source", "frame", "time_s", "face", "x0", "y0", "x1", "y1", "score", "sharpness", "side_px", "outside_frac"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def clip_and_image() -> tuple[Path, Path]:
    return video(Path("my clip.mp4"), moving(3)), image_file(Path("two.png"), drawn_faces(400, 260, *TWO))


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_face_is_an_image_and_a_row_of_the_index(model):
    assert fabnet("crops", *clip_and_image(), "--model", model) == 0
    index = pq.read_table("faces/index.parquet").to_pylist()
    names = [f"00000-my_clip/{k:07d}-0.jpg" for k in range(3)] + ["00001-two-0.jpg", "00001-two-1.jpg"]
    assert [row["file"] for row in index] == names
    assert files_below(Path("faces")) == sorted([*names, "index.parquet"])
    assert all(cv2.imread(f"faces/{name}").shape == (256, 256, 3) for name in names)


def test_the_index_has_the_key_columns_of_embed(model):
    named = clip_and_image()
    assert fabnet("crops", *named, "--model", model) == 0
    assert fabnet("embed", *named, "--model", model) == 0
    index, embedded = pq.read_table("faces/index.parquet"), pq.read_table("faces.parquet")
    assert index.select(KEYS).to_pylist() == embedded.select(KEYS).to_pylist()
    assert "image" not in index.column_names


def test_embeddings_of_png_crops_are_those_of_the_faces(model):
    named = clip_and_image()
    assert fabnet("crops", *named, "--png", "--model", model) == 0
    assert fabnet("embed", *named, "--model", model) == 0
    assert fabnet("embed", "faces", "--crops", "--model", model, "--out", "again.parquet") == 0
    found, expected = (pq.read_table(name)["embedding"].to_pylist() for name in ("again.parquet", "faces.parquet"))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_crop_of_the_authors_network_is_as_it_was_cut(released):
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet("crops", "face.png", "--png", "--released", released) == 0
    (row,) = pq.read_table("faces/index.parquet").to_pylist()
    assert cv2.imread(f"faces/{row['file']}").shape == (row["side_px"], row["side_px"], 3)


def test_a_tar_holds_what_the_folder_holds_and_is_the_same_each_time(model):
    named = clip_and_image()
    assert fabnet("crops", *named, "--model", model) == 0
    for name in ("one.tar", "other.tar"):
        assert fabnet("crops", *named, "--model", model, "--out", name) == 0
    with tarfile.open("one.tar") as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive}
    assert found == {name: Path("faces", name).read_bytes() for name in files_below(Path("faces"))}
    assert Path("one.tar").read_bytes() == Path("other.tar").read_bytes()


def test_an_index_can_be_csv(model):
    assert fabnet("crops", *clip_and_image(), "--index", "csv", "--model", model) == 0
    assert [row["face"] for row in csv.read_csv("faces/index.csv").to_pylist()] == [0, 0, 0, 0, 1]


def test_a_stopped_run_continues_and_leaves_nothing_half_done(model, monkeypatch):
    monkeypatch.setattr(tabulate, "FRAMES_PER_PART", 2)
    image = drawn_faces(320, 240, FACE)
    named = [image_file(Path(f"{name}.png"), image) for name in "abc"]
    encode, encoded = crops._encoded, []

    def dying(crop, suffix):
        if len(encoded) == 2:
            raise KeyboardInterrupt
        encoded.append(suffix)
        return encode(crop, suffix)

    monkeypatch.setattr(crops, "_encoded", dying)
    assert fabnet("crops", *named, "--model", model) == 130
    assert not Path("faces").exists()
    monkeypatch.setattr(crops, "_encoded", lambda *crop: (encoded.append("again"), encode(*crop))[1])
    assert fabnet("crops", *named, "--model", model) == 0
    assert encoded.count("again") == 1
    assert len(files_below(Path("faces"))) == 4
    assert {path.name for path in Path().iterdir()} == {*map(str, named), "faces", "faces.rejects.parquet"}


def test_a_source_without_a_face_gives_an_empty_index(model):
    image_file(Path("plain.png"), np.full((60, 60, 3), 90, np.uint8))
    assert fabnet("crops", "plain.png", "--model", model) == 0
    assert files_below(Path("faces")) == ["index.parquet"]
    assert pq.read_table("faces/index.parquet").num_rows == 0
    assert pq.read_table("faces.rejects.parquet")["kind"].to_pylist() == ["no face found"]


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("full", "full should be a new or an empty folder: name another one, or remove it"),
        ("faces.zip", "the result should be named *.tar or be a folder without a suffix, found faces.zip"),
        ("face.png/faces", "face.png/faces cannot be written"),
    ],
)
def test_a_result_that_cannot_be_written_is_an_error(model, capsys, out, sentence):
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    Path("full").mkdir()
    Path("full", "kept.txt").write_text("kept", encoding="utf-8")
    assert fabnet("crops", "face.png", "--model", model, "--out", out) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert files_below(Path("full")) == ["kept.txt"]
