"""The files that a user names: images and videos, folders of them, and lists."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pipelines.own import listed
from pipelines.own.listed import LISTS, is_there
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.media import Image

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})


def files(named: Sequence[Path]) -> list[Path]:
    """Every file once, in the order in which they are named.

    A folder stands for all images and videos in it and its sub-folders, sorted by name; a list (.txt, .csv) for the
    files that it names, see `listed`. A file of a list may be missing; it is a reject when it is read.

    Raises:
        UserError: a name that does not exist, an empty folder or list, or a list that cannot be understood.
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
    named = listed.files(name, IMAGES | media.VIDEO_SUFFIXES)
    if not named:
        raise UserError(f"{name} should name one file a line, found none")
    return named
