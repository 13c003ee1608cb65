"""MAFL: images and five points of the aligned CelebA, selected by MAFL's two lists of names.

`img_align_celeba/<number>.jpg` (178x218), `list_landmarks_align_celeba.txt` (a count, the column names, then a name
and ten whole numbers between runs of blanks) of CelebA; `training.txt` and `testing.txt` of MAFL, a name per line.
All images of MAFL belong to CelebA's training split: an encoder that is trained on CelebA must leave them out. If
CelebA's `list_eval_partition.txt` is present, this is checked and logged.
The face box is that of the FAb-Net demo: the image without its top 35 rows, then without 35 px on each side.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.releases import published
from stages.releases.readers import (
    Face,
    Reject,
    Release,
    nearest,
    number,
    printable,
    required,
    safe_path,
    sha256_by_name,
    text_lines,
)
from stages.runtime.errors import Rejected, UserError

log = logging.getLogger(__name__)

KIND = "boxed"
OWNER = "the MMLab, CUHK, which holds CelebA and MAFL"
EXPECTED = "img_align_celeba/ and list_landmarks_align_celeba.txt (CelebA), training.txt and testing.txt (MAFL)"
UNPACK_ARCHIVES = True
POINTS = 5  # eye at the left of the image, eye at the right, nose, mouth corners at the left and right
LABELS: dict[str, pa.DataType] = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}  # x0, y0, x1, ... px of the crop

IMAGES = "img_align_celeba/"
LANDMARKS = "list_landmarks_align_celeba.txt"
PARTITION = "list_eval_partition.txt"  # lines of a name and 0 (training), 1 or 2
CELEBA_TRAINING = "0"
LISTS = {"test": "testing.txt", "train": "training.txt"}
PUBLISHED = {"testing.txt": 1_000, "training.txt": 19_000}  # lines
SIZE_PX = (178, 218)
BOX_XYXY_PX = (35.0, 70.0, 143.0, 183.0)
_MAX_COORDINATE_PX = 1e4  # largest plausible coordinate


def read(raw: Path) -> Release[Face]:
    """Faces of the test list, then of the training list; images in both are test images.

    Raises:
        UserError: a list, the image folder or the manifest is missing, or a list has no lines.
    """
    names = sha256_by_name(raw)
    images, landmarks, lists = located(raw, names)
    lines = text_lines(raw / landmarks)
    if not lines or number(lines[0]) is None:
        raise UserError(f"{raw / LANDMARKS} should begin with a line with the number of its rows: download it again")
    points: dict[str, NDArray[np.float64] | None] = {}
    repeated: list[Reject] = []
    for name, face_points in filter(None, map(_points, lines[2:])):
        if name in points:
            repeated.append(Reject(printable(name), "repeated", f"{LANDMARKS} has another row with that name"))
        points.setdefault(name, face_points)
    listed: list[tuple[str, str]] = []
    for split, name in lists.items():
        list_lines = text_lines(raw / name)
        if not list_lines:
            raise UserError(f"{raw / name} should list images, one per line, found none: download it again")
        listed += [(split, line.strip()) for line in list_lines]
    if (partition := nearest(names, PARTITION)) is not None:
        _check_partition(raw / partition, {name for _, name in listed})
    faces = (_face(split, name, images, names, points) for split, name in listed)
    counts = Counter(LISTS[split] for split, _ in listed)
    lacking = list(published.lacking("mafl", counts, PUBLISHED))
    return Release(chain(repeated, faces, lacking), len(repeated) + len(listed) + len(lacking))


def located(raw: Path, names: Collection[str]) -> tuple[str, str, dict[str, str]]:
    """Image folder, file of landmarks, and list of each split.

    Raises:
        UserError: one of them is missing.
    """
    lists = {split: required(raw, names, name, EXPECTED) for split, name in LISTS.items()}
    return required(raw, names, IMAGES, EXPECTED), required(raw, names, LANDMARKS, EXPECTED), lists


def _check_partition(path: Path, listed: Iterable[str]) -> None:
    """Log whether the listed images are training images of CelebA, as the owners of MAFL say."""
    rows = [line.split() for line in text_lines(path)]
    training = {row[0] for row in rows if row[1:] == [CELEBA_TRAINING]}
    elsewhere = sorted(set(listed) - training)
    if elsewhere:
        log.warning(
            "mafl: %d images are not in CelebA's training split according to %s, such as %s: check that the lists are "
            "MAFL's, and leave these images out wherever you train on CelebA",
            *(len(elsewhere), path.name, printable(elsewhere[0])),
        )
    else:
        log.info("mafl: all images are in CelebA's training split: leave them out wherever you train on CelebA")


def _points(line: str) -> tuple[str, NDArray[np.float64] | None] | None:
    """Name and (5, 2) points of one line; points are None if a number is missing or damaged. None without a name."""
    cells = line.split()
    values = [value for cell in cells[1:] if (value := number(cell, _MAX_COORDINATE_PX)) is not None]
    if len(cells) != 1 + 2 * POINTS or len(values) != 2 * POINTS:
        return (cells[0], None) if cells else None
    return cells[0], np.array(values).reshape(POINTS, 2)


def _face(
    split: str, name: str, images: str, names: dict[str, str], points: dict[str, NDArray[np.float64] | None]
) -> Face | Reject:
    try:
        name = safe_path(name)
    except Rejected as error:
        return Reject(printable(name), error.kind, error.detail)
    if images + name not in names:
        return Reject(name, "no such image", "it is in the list but not in the release")
    if name not in points:
        return Reject(name, "no points", f"it is not in {LANDMARKS}")
    face_points = points[name]
    if face_points is None:
        return Reject(name, "points are damaged", f"expected {POINTS} pairs of numbers")
    return Face(name, images + name, split, "", BOX_XYXY_PX, face_points, size_px=SIZE_PX)
