"""300-W as released: folders of images, each with a .pts file of 68 points, and `Bounding Boxes/*.mat` if present.

Training: afw, helen/trainset, lfpw/trainset. Test: helen/testset and lfpw/testset (subset `common`), ibug
(`challenging`). Folders may be in capitals, as in some copies. Coordinates in both kinds of file are 1-based pixel
centres. Those of points become 0-based. Those of a box are its edges as they stand, half a pixel further right and
down, as in the authors' demo, which hands them to PIL. The box of a face without an annotated one has the outermost
coordinates of its points, as the file has them.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.io import loadmat

from fabnet.boxes import Box
from stages.releases import published
from stages.releases.readers import (
    Face,
    Reject,
    Release,
    annotation,
    incomplete,
    printable,
    safe_path,
    sha256_by_name,
)
from stages.runtime import bounded, files
from stages.runtime.errors import Rejected, UserError

log = logging.getLogger(__name__)

KIND = "boxed"
OWNER = "iBUG, Imperial College London: form at https://ibug.doc.ic.ac.uk"
EXPECTED = "the folders afw/, helen/{trainset,testset}/, lfpw/{trainset,testset}/ and ibug/ with images and .pts files"
UNPACK_ARCHIVES = True
POINTS = 68
LABELS: dict[str, pa.DataType] = {"landmarks": pa.list_(pa.float32(), 2 * POINTS)}  # x0, y0, x1, ... px of the crop

FOLDERS = {  # folder -> owner's split, subset
    "afw": ("train", "afw"),
    "helen/trainset": ("train", "helen"),
    "lfpw/trainset": ("train", "lfpw"),
    "helen/testset": ("test", "common"),
    "lfpw/testset": ("test", "common"),
    "ibug": ("test", "challenging"),
}
PUBLISHED = dict(zip(FOLDERS, (337, 2_000, 811, 330, 224, 135), strict=True))  # images
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_FILE = re.compile(rf"(?:.*/)?(?P<folder>{'|'.join(FOLDERS)})/[^/]+", re.IGNORECASE)
_MAX_COORDINATE_PX = 1e6  # largest plausible coordinate
Boxes = dict[str, dict[str, Box | None]]  # folder -> image -> annotated box as edges; None: damaged
_MAX_POINTS_BYTES = 2**16  # of a .pts file; 68 points take about 2,000
_MAX_BOXES_BYTES = 2**26  # of a .mat file; 2,000 boxes take less than 1 MB


def read(raw: Path) -> Release[Face]:
    """Faces sorted by name.

    Raises:
        UserError: no such folders, no manifest, or a box file that cannot be read.
    """
    names = sorted(sha256_by_name(raw))
    members = located(raw, names)
    stems = sorted({(folder, str(PurePosixPath(name).with_suffix(""))) for folder, name in members if _is_used(name)})
    counts = Counter(folder for folder, name in members if _is_image(name) and not _is_mirrored(name))
    lacking = list(published.lacking("w300", _titled(counts), _titled(PUBLISHED)))
    items = chain(_items(raw, stems, set(names), _boxes(raw, names)), lacking)
    return Release(items, len(stems) + len(lacking))


def located(raw: Path, names: Collection[str]) -> list[tuple[str, str]]:
    """Folder, in lower case, and name of every file in one of FOLDERS.

    Raises:
        UserError: there is none.
    """
    members = [(match["folder"].lower(), name) for name in names if (match := _FILE.fullmatch(name))]
    if not members:
        raise incomplete(raw, EXPECTED, "such folder")
    return members


def parse_points(data: bytes) -> NDArray[np.float64]:
    """(68, 2) points of a .pts file, x and y, pixel centres with the first pixel at 0.

    Raises:
        Rejected: not 68 points, or a coordinate that is not a number or too large.
    """
    block, end, _ = data.decode("ascii", "replace").partition("{")[2].partition("}")
    try:
        values = np.array(block.split() if end else [], np.float64)
    except ValueError:
        raise Rejected("points are damaged", "not all are numbers") from None
    if values.size != 2 * POINTS or not (np.abs(values) < _MAX_COORDINATE_PX).all():
        raise Rejected("points are damaged", f"expected {POINTS} pairs, found {values.size / 2:g}")
    return values.reshape(POINTS, 2) - 1


def _titled(counts: Mapping[str, int]) -> dict[str, int]:
    """`counts` by folder under names for the report, which say what a part is for."""
    return {f"{folder} ({', '.join(FOLDERS[folder])})": count for folder, count in counts.items()}


def _is_used(name: str) -> bool:
    return _is_image(name) or PurePosixPath(name).suffix.lower() == ".pts"


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _is_mirrored(name: str) -> bool:
    return PurePosixPath(name).stem.endswith("_mirror")


def _items(raw: Path, stems: list[tuple[str, str]], names: set[str], boxes: Boxes) -> Iterator[Face | Reject]:
    without_box = 0
    for folder, stem in stems:
        sample_id = f"{folder}/{PurePosixPath(stem).name}"
        try:
            face = _face(raw, folder, stem, names, boxes[folder])
        except Rejected as error:
            yield Reject(printable(sample_id), error.kind, error.detail)
            continue
        without_box += PurePosixPath(face.image).name not in boxes[folder]
        yield face
        for image in _images(stem, names)[1:]:
            yield Reject(f"{folder}/{PurePosixPath(image).name}", "same name as another image", face.image)
    if without_box:
        log.info("w300: %d faces have no annotated box, the bounding box of their points is used", without_box)


def _face(raw: Path, folder: str, stem: str, names: set[str], boxes: dict[str, Box | None]) -> Face:
    safe_path(stem)
    if stem.endswith("_mirror"):
        raise Rejected("mirrored copy")
    if f"{stem}.pts" not in names:
        raise Rejected("no points", "an image without its .pts file")
    images = _images(stem, names)
    if not images:
        raise Rejected("no such image", "points without their image")
    points = parse_points(annotation(raw / f"{stem}.pts", _MAX_POINTS_BYTES))
    split, subset = FOLDERS[folder]
    box = boxes.get(PurePosixPath(images[0]).name, _box([*points.min(axis=0) + 1, *points.max(axis=0) + 1]))
    if box is None:
        raise Rejected("box is damaged", "its corners are not numbers, or in the wrong order")
    return Face(f"{folder}/{PurePosixPath(stem).name}", images[0], split, subset, box, points)


def _images(stem: str, names: set[str]) -> list[str]:
    return [name for kind in IMAGE_SUFFIXES for name in (stem + kind, stem + kind.upper()) if name in names]


def _boxes(raw: Path, names: list[str]) -> Boxes:
    """Annotated boxes; empty for folders without a box file."""
    file_of = {f"bounding_boxes_{folder.replace('/', '_')}.mat": folder for folder in FOLDERS}
    files = ((PurePosixPath(name).name.lower(), name) for name in reversed(names))
    paths = {file_of[file]: raw / name for file, name in files if file in file_of}
    for file, folder in file_of.items():
        if folder not in paths:
            log.info("w300: no %s, the bounding boxes of the points are used", file)
    boxes: Boxes = {folder: {} for folder in FOLDERS}
    read = bounded.each(read_boxes, paths.values()) if paths else iter(())
    for folder, path in paths.items():
        try:
            boxes[folder] = next(read)
        except Rejected as error:
            raise UserError(f"{path} is not a readable box file ({error}): download it again or remove it") from None
    return boxes


def read_boxes(path: Path) -> dict[str, Box | None]:
    """Boxes of one .mat file by image name, as edges. On damaged files SciPy can crash its process, or hold it up.

    Raises:
        Rejected: the file cannot be read.
        MemoryError: nor in the memory that there is.
        OSError: the disk fails.
    """
    if (size := path.stat().st_size) > _MAX_BOXES_BYTES:
        raise Rejected("file too large", f"{size} bytes, expected at most {_MAX_BOXES_BYTES}")
    try:
        entries = loadmat(path)["bounding_boxes"][0]
        return {str(entry["imgName"][0, 0][0]): _box(entry["bb_ground_truth"][0, 0][0]) for entry in entries}
    except MemoryError:
        raise
    except Exception as error:  # SciPy documents none, and raises many
        if isinstance(error, OSError) and error.errno in files.DISK_FAILS:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise Rejected(type(error).__name__, str(error)) from None


def _box(corners: Iterable[float]) -> Box | None:
    """The edges at these coordinates of a file; None if they are damaged."""
    x0, y0, x1, y1 = map(float, corners)
    usable = max(map(abs, (x0, y0, x1, y1))) < _MAX_COORDINATE_PX and x0 < x1 and y0 < y1
    return (x0, y0, x1, y1) if usable else None
