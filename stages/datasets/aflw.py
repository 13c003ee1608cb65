"""AFLW as released: `aflw.sqlite` and the images in `aflw/data/flickr/{0,2,3}/`.

Faces.face_id joins FacePose and FaceRect, Faces.file_id joins FaceImages. Roll, pitch and yaw are radians in the
owners' signs: positive yaw turns the face towards the left edge of the image, positive pitch lifts it, positive
roll turns it clockwise. The face box is the annotated rectangle; it may extend beyond the image.

The owners have no splits. All faces of one image are one group, which a split does not divide. The table NearDuplicates
lists faces that have a near duplicate, but not which one: all images with a listed face are one group together.
"""

import logging
import math
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from fabnet.boxes import Box
from stages.releases import published
from stages.releases.readers import Face, Reject, Release, printable, required, safe_path, sha256_by_name
from stages.runtime.errors import Rejected, UserError

log = logging.getLogger(__name__)

KIND = "boxed"
OWNER = "the Institute of Computer Graphics and Vision, TU Graz, by mail"
EXPECTED = "aflw.sqlite and the images in aflw/data/flickr/{0,2,3}/"
UNPACK_ARCHIVES = True
ANGLES = ("roll", "pitch", "yaw")
LABELS: dict[str, pa.DataType] = {"pose_rad": pa.list_(pa.float32(), len(ANGLES))}  # ANGLES, each in (-pi, pi]
NAMES = {"pose_rad": ANGLES}

DATABASE = "aflw.sqlite"
IMAGES = "flickr/"
TABLES = {  # table -> columns that are read, the first one is the key
    "Faces": ("face_id", "file_id"),
    "FaceImages": ("file_id", "filepath", "width", "height"),
    "FaceRect": ("face_id", "x", "y", "w", "h"),
    "FacePose": ("face_id", *ANGLES),
}
PUBLISHED = {DATABASE: 24_384}  # faces, in the shortest of the owner's lists; the database of some copies has more
NEAR_DUPLICATES = "NearDuplicates"  # an optional table
MAX_BYTES = 2**28  # of the database; the owners' has 14 MB
MAX_ROWS = 500_000  # of one table; the owners' have about 25,000
_MAX_CELL_BYTES = 2**16  # of one cell or row, a table's definition included
_STEPS, _MAX_CALLS = 10_000, 20_000  # SQLite calls back after so many of its instructions, at most so often
NEAR_DUPLICATES_GROUP = "near duplicates"

Row = tuple[Any, ...]  # without the key; SQLite holds any type in any column


@dataclass(frozen=True)
class Annotations:
    """The tables of the database."""

    rows: dict[str, dict[Any, Row]]  # table -> key -> the first row with that key
    repeated: list[Reject]
    near_duplicates: set[Any]  # file_id of images with a face that is listed as a near duplicate


def read(raw: Path) -> Release[Face]:
    """Faces sorted by image and face number.

    Raises:
        UserError: database, images or manifest are missing, or the database cannot be read.
    """
    names = sha256_by_name(raw)
    database, images = located(raw, names)
    annotations = _annotations(raw / database)
    if not annotations.rows["Faces"]:
        raise UserError(f"{raw / database} should list faces in its table Faces, found none: download it again")
    lacking = list(published.lacking("aflw", {DATABASE: len(annotations.rows["Faces"])}, PUBLISHED))
    items = chain(_items(annotations, images, names), lacking)
    return Release(items, len(annotations.rows["Faces"]) + len(annotations.repeated) + len(lacking))


def located(raw: Path, names: Collection[str]) -> tuple[str, str]:
    """Database and image folder.

    Raises:
        UserError: one of them is missing.
    """
    return required(raw, names, DATABASE, EXPECTED), required(raw, names, IMAGES, EXPECTED)


def _annotations(path: Path) -> Annotations:
    """All rows of the tables that are read: about 25,000 each."""
    rows: dict[str, dict[Any, Row]] = {}
    repeated: list[Reject] = []
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError(f"{path} should be a database of at most {MAX_BYTES} bytes, found {size}: download it again")
    try:
        with closing(_opened(path)) as connection:
            for table, columns in TABLES.items():
                table_rows = rows.setdefault(table, {})
                for key, *values in _rows_of(connection, table, columns):
                    if key in table_rows:
                        repeated.append(Reject(_text(key), "repeated", f"{table} has another row with that key"))
                    else:
                        table_rows[key] = tuple(values)
            listed = _near_duplicates(connection)
    except (sqlite3.Error, UnicodeError) as error:
        raise UserError(f"{path} is not a readable AFLW database ({error}): download it again") from None
    return Annotations(rows, repeated, {rows["Faces"][face_id][0] for face_id in listed & set(rows["Faces"])})


def _opened(path: Path) -> sqlite3.Connection:
    """The database, read only; SQLite stops at cells that are far too large, and at work that does not end."""
    connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_CELL_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    calls = count()
    connection.set_progress_handler(lambda: next(calls) > _MAX_CALLS, _STEPS)
    return connection


def _rows_of(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[Row]:
    """Rows in the order of the table.

    Raises:
        sqlite3.Error: no such table or columns, a view in its place, damage, or more than MAX_ROWS.
    """
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'view'", (table,)).fetchone():
        raise sqlite3.DataError(f"{table} is a view, expected a table")
    found = connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid")
    yield from islice(found, MAX_ROWS)
    if found.fetchone() is not None:
        raise sqlite3.DataError(f"{table} has more than {MAX_ROWS} rows")


def _near_duplicates(connection: sqlite3.Connection) -> set[Any]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (NEAR_DUPLICATES,)).fetchone():
        log.info("aflw: no table %s, near duplicates may end up in different splits", NEAR_DUPLICATES)
        return set()
    return {face_id for (face_id,) in _rows_of(connection, NEAR_DUPLICATES, ("face_id",))}


def _items(annotations: Annotations, folder: str, names: dict[str, str]) -> Iterator[Face | Reject]:
    files = annotations.rows["FaceImages"]
    faces = [
        (_text(files.get(file_id, ("",))[0]), face_id) for face_id, (file_id,) in annotations.rows["Faces"].items()
    ]
    wrapped = 0
    yield from annotations.repeated
    for image, face_id in sorted(faces, key=lambda face: (face[0], _text(face[1]))):
        try:
            face = _face(annotations, face_id, image, folder, names)
        except Rejected as error:
            yield Reject(f"{image}/{_text(face_id)}", error.kind, error.detail)
            continue
        wrapped += any(abs(angle) > math.pi for angle in annotations.rows["FacePose"][face_id])
        yield face
    if wrapped:
        log.info("aflw: %d faces have an angle beyond half a turn, wrapped to (-pi, pi]", wrapped)


def _face(annotations: Annotations, face_id: Any, image: str, folder: str, names: dict[str, str]) -> Face:
    name = safe_path(image) if image else ""
    if folder + name not in names:
        raise Rejected("no such image", "it is in the database but not in the release")
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
        image=folder + name,
        owner_split="",
        subset="",
        box_xyxy_px=_box(rect),
        labels={"pose_rad": [wrap(angle) for angle in pose]},
        size_px=_size(size),
        group_id=NEAR_DUPLICATES_GROUP if file_id in annotations.near_duplicates else name,
    )


def wrap(angle: Any) -> float:
    """The angle wrapped to (-pi, pi].

    Raises:
        Rejected: not a number, or beyond a whole turn.
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
    """Width and height in the database; None where they are missing."""
    numbers = [int(value) for cell in values if (value := _number(cell)) is not None and value > 0]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _number(cell: Any) -> float | None:
    return float(cell) if isinstance(cell, (int, float)) and abs(cell) < 1e6 else None


def _text(cell: Any) -> str:
    """A cell as text that can be written to a table; empty for NULL."""
    return "" if cell is None else printable(str(cell))
