"""`fabnet verify` on a table of faces: the same files give the same table, or what differs is told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from media_samples import drawn_faces
from own_samples import FACE, TWO, fabnet, image_file, moving, video
from safetensors.torch import load_file, save_file

from fabnet.modules import model_file
from pipelines.own import verification

MADE = Path("faces.parquet")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def made(model) -> Path:
    """A table of a clip and an image."""
    video(Path("clip.mp4"), moving(3))
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet("embed", "clip.mp4", "face.png", "--fps", "12.5", "--model", model) == 0
    return MADE


def edited(column: str, row: int, value: object) -> None:
    """Change a cell of the table, whose metadata stay."""
    table = pq.read_table(MADE)
    values = table[column].to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, table.schema.field(column), pa.array(values, table[column].type)), MADE)


def with_metadata(path: Path, **changes: str) -> None:
    table = pq.read_table(path)
    metadata = {**table.schema.metadata, **{key.encode(): value for key, value in changes.items()}}
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.usefixtures("made")
def test_the_same_files_give_the_same_table(capsys):
    assert fabnet("verify", MADE, "clip.mp4", "face.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["faces.parquet: 3 faces, made again here: 3", "every face is identical"]
    assert sorted(path.name for path in Path().iterdir()) == [
        "clip.mp4", "face.png", "faces.parquet", "faces.rejects.parquet"
    ]  # fmt: skip


@pytest.mark.usefixtures("made")
def test_files_are_known_by_their_content_wherever_they_lie(tmp_path):
    Path("elsewhere").mkdir()
    shutil.move("clip.mp4", "elsewhere/renamed.mp4")
    shutil.move("face.png", "elsewhere/face.png")
    assert fabnet("verify", MADE, "elsewhere") == 0


@pytest.mark.usefixtures("made")
def test_without_files_those_of_the_table_are_read(capsys):
    assert fabnet("verify", MADE) == 0
    assert "every face is identical" in capsys.readouterr().out


@pytest.mark.usefixtures("made")
def test_a_part_of_the_files_can_be_verified(capsys):
    assert fabnet("verify", MADE, "face.png") == 0
    assert capsys.readouterr().out.splitlines() == [
        "faces.parquet: 1 face, made again here: 1", "not compared: clip.mp4", "every face is identical"
    ]  # fmt: skip


def test_rounding_is_the_same_and_more_is_a_difference(made, capsys):
    first = pq.read_table(made)["embedding"][0].as_py()
    edited("embedding", 0, [value * (1 + 1e-5) for value in first])
    assert fabnet("verify", made) == 0
    assert "every face is the same within 0.0001: at most" in capsys.readouterr().out
    edited("embedding", 0, [value + 0.01 for value in first])
    assert fabnet("verify", made, "--out", "differences.parquet") == 3
    assert "differ: 1 face, most of all clip.mp4 frame 0 face 0: embedding by 0.01" in capsys.readouterr().out
    (row,) = pq.read_table("differences.parquet").to_pylist()
    assert (row["source"], row["frame"], row["column"], row["found"]) == ("clip.mp4", 0, "embedding", "both")


@pytest.mark.usefixtures("made")
def test_a_face_that_only_one_side_has_is_a_difference(capsys):
    edited("frame", 1, 1)
    assert fabnet("verify", MADE, "--out", "differences.parquet") == 3
    assert "missing: 1 face here, 1 there" in capsys.readouterr().out
    found = [(row["frame"], row["found"]) for row in pq.read_table("differences.parquet").to_pylist()]
    assert found == [(1, "there"), (2, "here")]


@pytest.mark.usefixtures("made")
def test_another_version_is_named(capsys):
    with_metadata(MADE, decoder="PyAV 0, FFmpeg 0")
    assert fabnet("verify", MADE) == 0
    assert ", PyAV 0, FFmpeg 0 there" in capsys.readouterr().out


@pytest.mark.usefixtures("made")
def test_the_metadata_hold_all_that_is_needed():
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(MADE).metadata.items()}
    assert metadata["tool"].startswith("fabnet-pipelines ")
    assert (metadata["command"], metadata["fps"]) == ("embed", "12.5")
    assert [name for name, _ in json.loads(metadata["sources"])] == ["clip.mp4", "face.png"]
    assert {"model_sha256", "detector", "detector_version", "crop", "search", "options", "decoder", "image_decoder",
            "network_library", "device"} <= metadata.keys()  # fmt: skip


def test_attributes_crops_and_the_authors_weights_are_verified_too(released, capsys):
    video(Path("clip.mp4"), moving(2))
    image_file(Path("two.png"), drawn_faces(400, 260, *TWO))
    assert fabnet("attributes", "clip.mp4", "two.png", "--one-face", "--released", released, "--out", MADE) == 0
    assert fabnet("crops", "clip.mp4", "--released", released) == 0
    assert fabnet("verify", MADE, "clip.mp4", "two.png") == 0
    assert fabnet("verify", "faces/index.parquet", "clip.mp4") == 0
    assert capsys.readouterr().out.count("every face is identical") == 2
    other = shutil.copy(released, "moved.pth")
    assert fabnet("verify", MADE, "clip.mp4", "--released", other) == 0
    rows = pq.read_table("faces/index.parquet")
    place = rows.column_names.index("pixels_sha256")
    pq.write_table(rows.set_column(place, "pixels_sha256", pa.array(["0"] * len(rows))), "faces/index.parquet")
    assert fabnet("verify", "faces/index.parquet", "clip.mp4") == 3


def test_a_table_of_another_network_is_not_compared(model, made, capsys):
    other = Path("other.safetensors")
    path = Path(model, model_file.NAME)
    weights = {name: value * 2 if value.is_floating_point() else value for name, value in load_file(path).items()}
    save_file(weights, other, model_file.read(path)[0].metadata())
    assert fabnet("verify", made, "--model", other) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: faces.parquet was made with another file than other.safetensors: expected sha256 ")
    assert error.endswith("; name the right one with --model\n")


def test_another_file_of_the_same_name_is_an_error(made, capsys):
    video(Path("clip.mp4"), moving(5))
    assert fabnet("verify", made, "clip.mp4") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: clip.mp4 is not a file that faces.parquet was made from: expected sha256 ")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("made")
def test_tables_that_do_not_say_how_they_were_made_are_errors_in_one_sentence(model, capsys):
    assert fabnet("embed", "face.png", "--model", model, "--out", "faces.csv") == 0
    pq.write_table(pq.read_table(MADE).replace_schema_metadata(None), "bare.parquet")
    Path("text.parquet").write_text("no table", encoding="utf-8")
    for name, changed in {"options": {"options": "7"}, "newer": {"options": '{"pace": 2}'}, "list": {"sources": "[3]"},
                          "number": {"fps": '"x"'}}.items():  # fmt: skip
        shutil.copy(MADE, f"{name}.parquet")
        with_metadata(Path(f"{name}.parquet"), **changed)
    capsys.readouterr()
    sentences = {
        "faces.csv": "faces.csv is CSV, which does not say how it was made: verify the Parquet table",
        "bare.parquet": "bare.parquet does not say how it was made: expected a Parquet table",
        "text.parquet": "text.parquet is not a readable Parquet file",
        "gone.parquet": "gone.parquet does not exist",
        "options.parquet": "options.parquet does not say how it was made (",
        "newer.parquet": "newer.parquet does not say how it was made (unknown options pace)",
        "list.parquet": "list.parquet does not say how it was made (",
        "number.parquet": "number.parquet does not say how it was made (",
    }
    for name, sentence in sentences.items():
        assert fabnet("verify", name) == 1
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1


def test_missing_numbers_are_equal_and_a_missing_one_differs_from_a_number():
    some, others = pa.chunked_array([[None, 1.0, float("nan")]]), pa.chunked_array([[None, None, float("nan")]])
    assert verification._distance(some, others).tolist() == [0.0, np.inf, 0.0]
