"""300-W as released: folders of pictures with one .pts of 68 points each, and `Bounding Boxes/*.mat` if present.

Training: afw, helen/trainset, lfpw/trainset. Test: helen/testset and lfpw/testset (subset `common`), ibug
(`challenging`). Coordinates in both kinds of file are 1-based pixel centres; here the first pixel is 0.
A face without an annotated box gets the box of its points.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from fabnet.boxes import Box, around
from stages.errors import Rejected, UserError
from stages.media import read_file
from stages.readers import Face, Reject, Release, inside, printable, sha256_by_name

log = logging.getLogger(__name__)

EXPECTED = (
    "the folders afw/, helen/{trainset,testset}/, lfpw/{trainset,testset}/ and ibug/ with pictures and .pts files"
)
UNPACK_ARCHIVES = True
POINTS = 68
LABELS: dict[str, pa.DataType] = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}  # x0, y0, x1, ... px of the crop

FOLDERS = {  # folder -> owner's part, subset
    "afw": ("train", "afw"),
    "helen/trainset": ("train", "helen"),
    "lfpw/trainset": ("train", "lfpw"),
    "helen/testset": ("test", "common"),
    "lfpw/testset": ("test", "common"),
    "ibug": ("test", "challenging"),
}
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_FILE = re.compile(rf"(?P<root>(?:.*/)?)(?P<folder>{'|'.join(FOLDERS)})/(?P<name>[^/]+)")
_FARTHEST_PX = 1e6  # of a point from the corner; beyond, and where it is NaN, the number is damaged
_POINT_BLOCK = re.compile(r"\{(.*?)\}", re.DOTALL)


def read(raw: Path) -> Release[Face]:
    """Faces sorted by name.

    Raises:
        UserError: no such folders, no manifest, or a box file that cannot be read.
    """
    names = sorted(sha256_by_name(raw))
    members = [(match["folder"], name) for name in names if (match := _FILE.fullmatch(name))]
    if not members:
        raise UserError(f"{raw} should hold {EXPECTED}: found none of them")
    stems = sorted({(folder, str(PurePosixPath(name).with_suffix(""))) for folder, name in members if _is_used(name)})
    boxes = {folder: _boxes(raw, names, folder) for folder in FOLDERS}
    return Release(_items(raw, stems, set(names), boxes), len(stems))


def parse_points(data: bytes) -> NDArray[np.float64]:
    """(68, 2) points of a .pts file, x and y, pixel centres with the first pixel at 0.

    Raises:
        Rejected: another number of points, or something that is no number within a picture's reach.
    """
    block = _POINT_BLOCK.search(data.decode("ascii", "replace"))
    try:
        values = np.array((block[1] if block else "").split(), np.float64)
    except ValueError:
        raise Rejected("points are damaged: not all are numbers") from None
    if values.size != 2 * POINTS or not (np.abs(values) < _FARTHEST_PX).all():
        raise Rejected(f"points are damaged: expected {POINTS} pairs, found {values.size / 2:g}")
    return values.reshape(POINTS, 2) - 1


def _is_used(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in (".pts", *PICTURES)


def _items(
    raw: Path, stems: list[tuple[str, str]], names: set[str], boxes: dict[str, dict[str, Box]]
) -> Iterator[Face | Reject]:
    without_box = 0
    for folder, stem in stems:
        sample_id = f"{folder}/{PurePosixPath(stem).name}"
        try:
            face = _face(raw, folder, stem, names, boxes[folder])
        except Rejected as error:
            yield Reject(printable(sample_id), str(error))
            continue
        without_box += PurePosixPath(face.image).name not in boxes[folder]
        yield face
    if without_box:
        log.info("w300: %d faces have no annotated box, the box of their points is used", without_box)


def _face(raw: Path, folder: str, stem: str, names: set[str], boxes: dict[str, Box]) -> Face:
    inside(stem)
    if stem.endswith("_mirror"):
        raise Rejected("mirrored copy")
    if f"{stem}.pts" not in names:
        raise Rejected("no points: a picture without its .pts file")
    images = [name for kind in PICTURES for name in (stem + kind, stem + kind.upper()) if name in names]
    if not images:
        raise Rejected("no such picture: points without their picture")
    points = parse_points(read_file(raw / f"{stem}.pts"))
    part, subset = FOLDERS[folder]
    box = boxes.get(PurePosixPath(images[0]).name) or around(points)
    return Face(f"{folder}/{PurePosixPath(stem).name}", images[0], part, subset, box, points)


def _boxes(raw: Path, names: list[str], folder: str) -> dict[str, Box]:
    """Annotated boxes by picture name, as edges; empty without a box file."""
    file_name = f"bounding_boxes_{folder.replace('/', '_')}.mat"
    found = [name for name in names if PurePosixPath(name).name == file_name]
    if not found:
        log.info("w300: no %s, the boxes of the points are used", file_name)
        return {}
    try:
        entries = loadmat(raw / found[0])["bounding_boxes"][0]
        return {str(entry["imgName"][0, 0][0]): _box(entry["bb_ground_truth"][0, 0][0]) for entry in entries}
    except (ValueError, TypeError, KeyError, IndexError, OSError, NotImplementedError, MatReadError) as error:
        raise UserError(f"{raw / found[0]} is no readable box file ({error}): fetch it again or remove it") from None


def _box(corners: NDArray[np.float64]) -> Box:
    x0, y0, x1, y1 = (float(corner) - 0.5 for corner in corners)  # 1-based centres to edges
    return x0, y0, x1, y1
