import math
import random
import sqlite3
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hostile_server import mutated
from media_samples import encoded, noise
from releases import bring, put

from stages import index, split
from stages.datasets import aflw
from stages.datasets.aflw import read, wrap
from stages.releases.readers import Face, Reject
from stages.runtime import tables
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import BoxParams, FaceSplitParams, IndexParams

DEMO = (0.050194, -0.111076, -0.692357)  # the authors' example: roll, pitch, yaw
SCHEMA = """
CREATE TABLE Faces (face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);
CREATE TABLE FaceImages (image_id INTEGER PRIMARY KEY, db_id TEXT, file_id TEXT, filepath TEXT, bw INTEGER,
    width INTEGER, height INTEGER);
CREATE TABLE FaceRect (face_id INTEGER, x INTEGER, y INTEGER, w INTEGER, h INTEGER, annot_type_id INTEGER);
CREATE TABLE FacePose (face_id INTEGER, roll REAL, pitch REAL, yaw REAL, annot_type_id INTEGER);
"""


def release(folder, faces: Sequence[tuple]):
    """Faces as (image, rectangle or None, pose or None), numbered from 1; images of 400 x 350 px."""
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "aflw.sqlite") as database:
        database.executescript(SCHEMA)
        for image_id, image in enumerate(sorted({face[0] for face in faces}), start=1):
            row = (image_id, "flickr", f"{image}.jpg", f"2/{image}.jpg", 0, 400, 350)
            database.execute("INSERT INTO FaceImages VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            put(folder / "aflw/data/flickr/2" / f"{image}.jpg", encoded(noise(400, 350, image_id)))
        for number, (image, rect, pose) in enumerate(faces, start=1):
            database.execute("INSERT INTO Faces VALUES (?, ?, 'flickr')", (number, f"{image}.jpg"))
            if rect:
                database.execute("INSERT INTO FaceRect VALUES (?, ?, ?, ?, ?, 1)", (number, *rect))
            if pose:
                database.execute("INSERT INTO FacePose VALUES (?, ?, ?, ?, 1)", (number, *pose))
    database.close()
    return folder


def items(folder, raw) -> list[Face | Reject]:
    release = read(bring("aflw", folder, raw))
    found = list(release.items)
    assert release.total == len(found)
    return found


def test_row_of_the_demo_gives_its_crop_and_pose_in_radians(tmp_path):
    (face,) = items(release(tmp_path / "r", [("image66922", (237, 228, 95, 95), DEMO)]), tmp_path / "raw")
    assert isinstance(face, Face)
    assert face.box_xyxy_px == (237, 228, 332, 323)
    assert face.labels["pose_rad"] == pytest.approx(DEMO)
    assert [math.degrees(angle) for angle in face.labels["pose_rad"]] == pytest.approx([2.88, -6.36, -39.67], abs=0.01)
    assert face.owner_split == ""


def test_faces_of_one_image_are_one_group(tmp_path):
    rect = (10, 10, 90, 91)
    folder = release(tmp_path / "r", [("a", rect, DEMO), ("b", rect, DEMO), ("a", rect, DEMO)])
    found = items(folder, tmp_path / "raw")
    assert [(face.sample_id, face.group_id) for face in found if isinstance(face, Face)] == [
        ("2/a.jpg/1", "2/a.jpg"), ("2/a.jpg/3", "2/a.jpg"), ("2/b.jpg/2", "2/b.jpg"),
    ]  # fmt: skip


def test_faces_of_one_image_are_sorted_by_their_number_as_text(tmp_path):
    found = items(release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)] * 11), tmp_path / "raw")
    assert [item.key.rpartition("/")[2] for item in found][:4] == ["1", "10", "11", "2"]


def test_near_duplicates_and_all_faces_of_their_images_stay_in_one_split(tmp_path):
    rect = (10, 10, 90, 91)
    names = [f"p{number:02d}" for number in range(12)]
    folder = release(tmp_path / "r", [(name, rect, DEMO) for name in names] + [("p03", rect, DEMO)])
    with sqlite3.connect(folder / "aflw.sqlite") as database:
        database.execute("CREATE TABLE NearDuplicates (face_id INTEGER)")
        database.executemany("INSERT INTO NearDuplicates VALUES (?)", [(2,), (4,), (9,), (9,), (77,), (None,)])
    database.close()
    faces = [item for item in items(folder, tmp_path / "raw") if isinstance(item, Face)]
    groups = {face.sample_id: face.group_id for face in faces}
    near_duplicates = {"2/p01.jpg/2", "2/p03.jpg/4", "2/p03.jpg/13", "2/p08.jpg/9"}
    assert {name for name, group in groups.items() if group == "near duplicates"} == near_duplicates
    assert len(set(groups.values())) == 10
    found = pa.table({"sample_id": list(groups), "group_id": list(groups.values()), "owner_split": [""] * len(groups)})
    for seed in range(20):
        splits = split.split_faces(found, FaceSplitParams(val=0.3, test=0.3), seed=seed).to_pylist()
        assert len({row["split"] for row in splits if row["sample_id"] in near_duplicates}) == 1


def test_near_duplicates_table_without_its_column_raises_an_error(tmp_path):
    folder = release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)])
    with sqlite3.connect(folder / "aflw.sqlite") as database:
        database.execute("CREATE TABLE NearDuplicates (face INTEGER)")
    database.close()
    with pytest.raises(UserError, match="not a readable AFLW database"):
        items(folder, tmp_path / "raw")


def test_box_is_cropped_unchanged_where_it_extends_beyond_the_image(tmp_path):
    folder = release(tmp_path / "r", [("a", (-21, -7, 101, 96), DEMO), ("b", (900, 900, 50, 50), DEMO)])
    index.run(
        dataset="aflw",
        raw=bring("aflw", folder, tmp_path / "raw"),
        out=tmp_path / "out",
        sheets=tmp_path / "sheets",
        journal=tmp_path / "journal",
        index=IndexParams(crop_px=256, jpeg_quality=95, images_per_unit=100),
        box=BoxParams(margin_frac=0.0),
    )
    (row,) = tables.read(tmp_path / "out" / "index.parquet").to_pylist()
    assert row["crop_xyxy_px"] == [-21, -7, 80, 89]
    assert row["pose_rad"] == pytest.approx(DEMO, abs=1e-6)
    assert row["group_id"] == "2/a.jpg"
    (reject,) = tables.read(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert reject["kind"] == "face box misses the image"


def test_angle_within_a_turn_is_wrapped_and_counted(tmp_path, caplog):
    rect = (10, 10, 90, 91)
    folder = release(tmp_path / "r", [("a", rect, (0.1, 0.2, 6.2)), ("b", rect, DEMO)])
    with caplog.at_level("INFO"):
        face, _ = items(folder, tmp_path / "raw")
    assert isinstance(face, Face)
    assert face.labels["pose_rad"][2] == pytest.approx(6.2 - 2 * math.pi)
    assert "1 faces have an angle beyond half a turn" in caplog.text


@pytest.mark.parametrize("angle", [40.0, -7, float("inf"), None, "x", b"\xff"])
def test_angle_beyond_a_turn_is_rejected(angle):
    with pytest.raises(Rejected, match="pose out of range"):
        wrap(angle)


def test_half_a_turn_is_positive():
    assert [wrap(math.pi), wrap(-math.pi), wrap(0)] == [math.pi, math.pi, 0]


def test_a_whole_turn_is_none():
    assert [wrap(2 * math.pi), wrap(-2 * math.pi)] == [0, 0]
    for beyond in (math.nextafter(2 * math.pi, 7), math.nextafter(-2 * math.pi, -7)):
        with pytest.raises(Rejected, match="pose out of range"):
            wrap(beyond)


def test_missing_damaged_and_repeated_rows_are_rejects(tmp_path):
    rect = (10, 10, 90, 91)
    faces = [("a", None, DEMO), ("b", rect, None), ("c", (1, 1, 0, 5), DEMO), ("d", rect, (0.1, 0.2, 1e9)),
             ("e", rect, DEMO), ("f", rect, DEMO), ("g", rect, DEMO)]  # fmt: skip
    folder = release(tmp_path / "r", faces)
    (folder / "aflw/data/flickr/2/e.jpg").unlink()
    with sqlite3.connect(folder / "aflw.sqlite") as database:
        database.execute("DELETE FROM FaceImages WHERE file_id = 'f.jpg'")
        database.execute("INSERT INTO FacePose VALUES (7, 0, 0, 0, 2)")
    database.close()
    found = items(folder, tmp_path / "raw")
    assert [item.sample_id for item in found if isinstance(item, Face)] == ["2/g.jpg/7"]
    assert {item.key: item.kind for item in found if isinstance(item, Reject)} == {
        "7": "repeated",
        "/6": "no such image",
        "2/a.jpg/1": "no annotated box",
        "2/b.jpg/2": "no pose",
        "2/c.jpg/3": "box is damaged",
        "2/d.jpg/4": "pose out of range",
        "2/e.jpg/5": "no such image",
    }


def test_image_size_of_the_database_is_kept(tmp_path):
    folder = release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)])
    (face,) = items(folder, tmp_path / "raw")
    assert isinstance(face, Face)
    assert face.size_px == (400, 350)


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0" + bytes(4000), b"\x89PNG", b"x" * 5000])
def test_file_that_is_not_a_database_raises_an_error(data, tmp_path):
    folder = release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)])
    put(folder / "aflw.sqlite", data)
    with pytest.raises(UserError, match=r"aflw\.sqlite is not a readable AFLW database"):
        items(folder, tmp_path / "raw")


def test_database_without_faces_raises_an_error(tmp_path):
    folder = release(tmp_path / "r", [])
    put(folder / "aflw/data/flickr/2/a.jpg", b"x")
    with pytest.raises(UserError, match="should list faces"):
        items(folder, tmp_path / "raw")


HOSTILE = {
    "a view without an end": (
        "DROP TABLE FaceRect; CREATE VIEW FaceRect AS WITH RECURSIVE n(face_id, x, y, w, h) AS "
        "(SELECT 1, 1, 1, 1, 1 UNION ALL SELECT face_id + 1, 1, 1, 1, 1 FROM n) SELECT * FROM n",
        "FaceRect is a view",
    ),
    "a cell of a megabyte": ("UPDATE FaceImages SET filepath = zeroblob(1000000)", "too big"),
    "a cell that is made when it is read": (
        "DROP TABLE FacePose; CREATE TABLE FacePose (face_id, roll, pitch, yaw AS (zeroblob(900000000))); "
        "INSERT INTO FacePose VALUES (1, 1, 1)",
        "too big",
    ),
    "far too many rows": (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) "
        "INSERT INTO FacePose SELECT i + 100, 0, 0, 0, 1 FROM n",
        "FacePose has more than 500 rows",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_database_that_would_fill_the_memory_or_never_end_raises_an_error(what, tmp_path, monkeypatch):
    monkeypatch.setattr(aflw, "MAX_ROWS", 500)
    script, reason = HOSTILE[what]
    folder = release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)])
    with sqlite3.connect(folder / "aflw.sqlite") as database:
        database.executescript(script)
    database.close()
    with pytest.raises(UserError, match=rf"not a readable AFLW database \(.*{reason}"):
        items(folder, tmp_path / "raw")


def test_database_that_takes_too_many_steps_raises_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(aflw, "_STEPS", 1)
    monkeypatch.setattr(aflw, "_MAX_CALLS", 5)
    with pytest.raises(UserError, match=r"not a readable AFLW database \(interrupted"):
        items(release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)]), tmp_path / "raw")


def test_mutated_databases_give_items_or_an_error(tmp_path):
    raw = bring("aflw", release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)] * 5), tmp_path / "raw")
    intact, draw, refused = (raw / "aflw.sqlite").read_bytes(), random.Random(4), 0
    (raw / "aflw.sqlite").unlink()
    for _ in range(200):
        put(raw / "aflw.sqlite", mutated(intact, draw))
        try:
            list(read(raw).items)
        except UserError:
            refused += 1
    assert refused > 20


def test_a_path_with_backslashes_is_that_of_the_image(tmp_path):
    folder = release(tmp_path / "r", [("a", (10, 10, 90, 91), DEMO)])
    with sqlite3.connect(folder / "aflw.sqlite") as database:
        database.execute("UPDATE FaceImages SET filepath = '2\\a.jpg'")
    database.close()
    (face,) = items(folder, tmp_path / "raw")
    assert isinstance(face, Face)
    assert (face.image, face.group_id) == ("aflw/data/flickr/2/a.jpg", "2/a.jpg")
