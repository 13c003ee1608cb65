"""AFLW as released: `aflw.sqlite` and the pictures in `aflw/data/flickr/{0,2,3}/`.

Faces.face_id joins FacePose and FaceRect, Faces.file_id joins FaceImages. Roll, pitch and yaw are radians in the
owners' signs: positive yaw turns the face to the left edge of the picture, positive pitch lifts it, positive roll
turns it clockwise. The face box is the annotated rectangle as it is; it may leave the picture.

The owners have no splits. All faces of one picture are one group, so that a split cannot divide them. The table
NearDuplicates lists faces that are there nearly twice, but not which resembles which: all pictures that hold one of
them are one group together.
"""

import logging
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from fabnet.boxes import Box
from stages.releases.readers import Face, Reject, Release, inside, printable, required, sha256_by_name
from stages.runtime.errors import Rejected, UserError

log = logging.getLogger(__name__)

OWNER = "the Institute of Computer Graphics and Vision, TU Graz, by mail"
EXPECTED = "aflw.sqlite and the pictures in aflw/data/flickr/{0,2,3}/"
UNPACK_ARCHIVES = True
ANGLES = ("roll", "pitch", "yaw")
LABELS: dict[str, pa.DataType] = {"pose_rad": pa.list_(pa.float32(), len(ANGLES))}  # ANGLES, each in (-pi, pi]

DATABASE = "aflw.sqlite"
PICTURES = "flickr/"
TABLES = {  # table -> its columns that are read, the first one is the key
    "Faces": ("face_id", "file_id"),
    "FaceImages": ("file_id", "filepath", "width", "height"),
    "FaceRect": ("face_id", "x", "y", "w", "h"),
    "FacePose": ("face_id", *ANGLES),
}
TWICE = "NearDuplicates"  # may be missing
TWICE_GROUP = "near duplicates"

Row = tuple[Any, ...]  # without the key; SQLite holds any type in any column


@dataclass(frozen=True)
class Annotations:
    """The database's tables, key -> row; the first row of a key."""

    rows: dict[str, dict[Any, Row]]
    repeated: list[Reject]
    twice: set[Any]  # file_id of pictures with a face that is listed as a near duplicate


def read(raw: Path) -> Release[Face]:
    """Faces sorted by picture and face number.

    Raises:
        UserError: database, pictures or manifest are missing, or the database cannot be read.
    """
    names = sha256_by_name(raw)
    database = required(raw, names, DATABASE, EXPECTED)
    pictures = required(raw, names, PICTURES, EXPECTED)
    annotations = _annotations(raw / database)
    if not annotations.rows["Faces"]:
        raise UserError(f"{raw / database} should list faces in its table Faces, found none: fetch it again")
    items = _items(annotations, pictures, names)
    return Release(items, len(annotations.rows["Faces"]) + len(annotations.repeated))


def _annotations(path: Path) -> Annotations:
    """The tables that are read, in full: some 25,000 rows each."""
    rows: dict[str, dict[Any, Row]] = {}
    repeated: list[Reject] = []
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True)
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        for table, columns in TABLES.items():
            of_table = rows.setdefault(table, {})
            for key, *values in connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid"):
                if key in of_table:
                    repeated.append(Reject(_text(key), "repeated", f"{table} holds another row of that key"))
                else:
                    of_table[key] = tuple(values)
        listed = _near_duplicates(connection)
        connection.close()
    except (sqlite3.Error, UnicodeError) as error:
        raise UserError(f"{path} is no readable AFLW database ({error}): fetch it again") from None
    return Annotations(rows, repeated, {rows["Faces"][face_id][0] for face_id in listed & set(rows["Faces"])})


def _near_duplicates(connection: sqlite3.Connection) -> set[Any]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (TWICE,)).fetchone():
        log.info("aflw: no table %s, faces that are there nearly twice may be divided by a split", TWICE)
        return set()
    return {face_id for (face_id,) in connection.execute(f"SELECT face_id FROM {TWICE}")}


def _items(annotations: Annotations, pictures: str, names: dict[str, str]) -> Iterator[Face | Reject]:
    images = annotations.rows["FaceImages"]
    faces = [
        (_text(images.get(file_id, ("",))[0]), face_id) for face_id, (file_id,) in annotations.rows["Faces"].items()
    ]
    wrapped = 0
    yield from annotations.repeated
    for picture, face_id in sorted(faces, key=lambda face: (face[0], _text(face[1]))):
        try:
            face = _face(annotations, face_id, picture, pictures, names)
        except Rejected as error:
            yield Reject(f"{picture}/{_text(face_id)}", error.kind, error.detail)
            continue
        wrapped += any(abs(angle) > math.pi for angle in annotations.rows["FacePose"][face_id])
        yield face
    if wrapped:
        log.info("aflw: %d faces have an angle beyond half a turn, brought back by a whole turn", wrapped)


def _face(annotations: Annotations, face_id: Any, picture: str, pictures: str, names: dict[str, str]) -> Face:
    name = inside(picture) if picture else ""
    if pictures + name not in names:
        raise Rejected("no such picture", "the database names it, the release does not hold it")
    (file_id,) = annotations.rows["Faces"][face_id]
    _, *size = annotations.rows["FaceImages"][file_id]
    pose = annotations.rows["FacePose"].get(face_id)
    if pose is None:
        raise Rejected("no pose", "FacePose has no row of this face")
    rect = annotations.rows["FaceRect"].get(face_id)
    if rect is None:
        raise Rejected("no annotated box", "FaceRect has no row of this face")
    return Face(
        sample_id=f"{name}/{_text(face_id)}",
        image=pictures + name,
        owner_split="",
        subset="",
        box_xyxy_px=_box(rect),
        labels={"pose_rad": [wrap(angle) for angle in pose]},
        size_px=_size(size),
        group_id=TWICE_GROUP if file_id in annotations.twice else name,
    )


def wrap(angle: Any) -> float:
    """The angle within (-pi, pi], where it is at most one turn away.

    Raises:
        Rejected: no number, or farther away than a turn.
    """
    value = _number(angle)
    if value is None or abs(value) > 2 * math.pi:
        raise Rejected("pose out of range", f"an angle of {printable(repr(angle))} rad")
    if value > math.pi:
        return value - 2 * math.pi
    return value + 2 * math.pi if value <= -math.pi else value


def _box(rect: Row) -> Box:
    """Corner and size as edges."""
    numbers = [value for cell in rect if (value := _number(cell)) is not None]
    if len(numbers) != 4 or min(numbers[2:]) <= 0:
        raise Rejected("box is damaged", f"x, y, w, h are {printable(repr(rect))}")
    x, y, width, height = numbers
    return x, y, x + width, y + height


def _size(values: list[Any]) -> tuple[int, int] | None:
    """Width and height that the database tells; None where it tells none."""
    numbers = [int(value) for cell in values if (value := _number(cell)) is not None and value > 0]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _number(cell: Any) -> float | None:
    return float(cell) if isinstance(cell, (int, float)) and abs(cell) < 1e6 else None


def _text(cell: Any) -> str:
    """A cell as text that can stand in a table; nothing for NULL."""
    return "" if cell is None else printable(str(cell))
