import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from media_samples import drawn_faces
from own_samples import FACE, fabnet, image_file, moving, video

from pipelines.own import retrieve
from stages.reporting import figures
from stages.runtime import tables


@pytest.fixture
def table(tmp_path, monkeypatch, model):
    """Rows 0 to 3 of a clip, row 4 of an image."""
    monkeypatch.chdir(tmp_path)
    video(tmp_path / "clip.mp4", moving(4))
    image_file(tmp_path / "face.png", drawn_faces(320, 240, (FACE[0], FACE[1], 150)))
    assert fabnet("embed", "clip.mp4", "face.png", "--model", model) == 0
    return tmp_path / "faces.parquet"


def printed(capsys) -> list[list[str]]:
    """Cells of the printed rows."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_nearest_face_to_an_image_is_that_image_s_own_row(table, model, capsys):
    capsys.readouterr()
    assert fabnet("retrieve", table, "face.png", "--count", 2, "--model", model) == 0
    rows = printed(capsys)
    assert len(rows) == 2
    assert rows[0][:3] == ["1.000", "4", "face.png"]
    height, width = cv2.imread("neighbours.jpg").shape[:2]
    assert width > 3 * figures.TILE
    assert height > figures.TILE


def test_a_row_is_not_its_own_neighbour_and_its_source_can_be_left_out(table, capsys):
    capsys.readouterr()
    assert fabnet("retrieve", table, "--row", 0) == 0
    assert sorted(int(row[1]) for row in printed(capsys)) == [1, 2, 3, 4]
    assert fabnet("retrieve", table, "--row", 0, "--other-sources", "--out", "other.jpg") == 0
    assert [row[1] for row in printed(capsys)] == ["4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name either an image or a row"),
        (("--row", "5"), "should be one of the 5 rows"),
        (("gone.png",), "should be an image of a face: no such file"),
    ],
)
def test_wrong_arguments_are_user_errors(table, model, capsys, arguments, sentence):
    assert fabnet("retrieve", table, *arguments, "--model", model) == 1
    assert sentence in capsys.readouterr().err


def test_embeddings_of_two_lengths_are_a_user_error(table, capsys):
    faces = pq.read_table(table)
    ragged = pa.array([[1.0] * (1 + number % 2) for number in range(len(faces))], pa.list_(pa.float32()))
    place = faces.column_names.index("embedding")
    pq.write_table(faces.set_column(place, "embedding", ragged), table)
    assert fabnet("retrieve", table, "--row", 0) == 1
    assert "all embeddings should have one length, " in capsys.readouterr().err


def test_a_csv_is_a_user_error_that_says_what_is_read(tmp_path, capsys):
    (tmp_path / "faces.csv").write_text("source\n", encoding="utf-8")
    assert fabnet("retrieve", "faces.csv", "--row", 0) == 1
    assert capsys.readouterr().err == (
        "error: faces.csv should be a Parquet table, since CSV does not name the network: write one with "
        "`fabnet embed --out faces.parquet`\n"
    )


def test_a_table_of_another_model_is_a_user_error(table, tmp_path, model, capsys):
    (tmp_path / "other.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    assert fabnet("retrieve", table, "face.png", "--model", tmp_path / "other.safetensors") == 0
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "other.safetensors").write_bytes(data)
    assert fabnet("retrieve", table, "face.png", "--model", tmp_path / "other.safetensors") == 1
    assert "was made with another model" in capsys.readouterr().err


def test_an_embedding_that_is_no_number_is_a_user_error_that_names_its_source(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [dict.fromkeys(retrieve.COLUMNS) | {"source": f"{k}.png", "embedding": [1.0, 2.0]} for k in range(3)]
    rows[1]["embedding"] = [1.0, float("nan")]
    metadata = {tables.VERSION: tables.SCHEMA_VERSION}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(metadata), "faces.parquet")
    assert fabnet("retrieve", "faces.parquet", "--row", 0) == 1
    assert capsys.readouterr().err == (
        "error: faces.parquet: all embeddings should be finite numbers, 1 of 3, that of 1.png, is not: write it again "
        "with `fabnet embed`\n"
    )


def test_a_missing_source_is_a_user_error(table, capsys):
    (table.parent / "clip.mp4").unlink()
    assert fabnet("retrieve", table, "--row", 4) == 1
    assert "clip.mp4 should be as it was when the table was made" in capsys.readouterr().err
