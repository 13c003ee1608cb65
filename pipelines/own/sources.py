"""The files that a user names: images and videos, folders of them, and lists."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from stages.releases.readers import cells, text_lines
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.media import Image

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
LISTS = frozenset({".txt", ".csv"})
HEADERS = ("file", "path", "source", "filename", "video", "image")  # of the column of a CSV that names the files


def files(named: Sequence[Path]) -> list[Path]:
    """Every file once, in the order in which they are named.

    A folder stands for all images and videos in it and its sub-folders, sorted by name. A list (.txt, .csv) names one
    file a line, relative to the list: the whole line, or the column of a CSV that is called as in HEADERS, else its
    first column. A file of a list may be missing; it is a reject when it is read.

    Raises:
        UserError: a name that does not exist, or an empty folder or list.
    """
    paths = [path for name in named for path in _expanded(name)]
    if not paths:
        raise UserError("no file is named: give videos, images, folders of them or a list (.txt, .csv)")
    return list(dict.fromkeys(paths))


def is_image(path: Path) -> bool:
    """Whether the name is that of an image; everything else is opened as a video."""
    return path.suffix.lower() in IMAGES


def read_image(path: Path) -> Image:
    """The image as a viewer shows it: turned by its EXIF orientation.

    Raises:
        Rejected: it cannot be read.
    """
    try:
        data = media.read_file(path)
    except OSError as error:
        raise Rejected("unreadable file", str(error.strerror)) from None
    image = media.decode_image(data)
    if b"Exif" not in data and b"eXIf" not in data:  # JPEG and TIFF, PNG
        return image
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def is_there(path: Path) -> bool:
    """Whether there is such a file; False for a name that the system refuses."""
    try:
        return path.exists()
    except OSError:
        return False


def _expanded(name: Path) -> list[Path]:
    if not is_there(name):
        raise UserError(f"{name} does not exist: name a video, an image, a folder of them or a list (.txt, .csv)")
    if name.is_dir():
        inside = sorted(path for path in name.rglob("*") if path.suffix.lower() in IMAGES | media.VIDEO_SUFFIXES)
        if not inside:
            raise UserError(f"{name} should hold images or videos, found none: {', '.join(sorted(IMAGES))} or "
                            f"{', '.join(sorted(media.VIDEO_SUFFIXES))}")  # fmt: skip
        return inside
    if name.suffix.lower() not in LISTS:
        return [name]
    listed = [name.parent / line for line in _listed(name)]
    if not listed:
        raise UserError(f"{name} should name one file a line, found none")
    return listed


def _listed(path: Path) -> Iterator[str]:
    lines = text_lines(path)
    if path.suffix.lower() == ".txt":
        yield from (line.strip() for line in lines)
        return
    rows = [row for row in map(cells, lines) if row and any(row)]
    header = [name.lower() for name in rows[0]] if rows else []
    column = next((header.index(name) for name in HEADERS if name in header), None)
    for row in rows if column is None else rows[1:]:
        if len(row) > (column or 0) and row[column or 0]:
            yield row[column or 0]
