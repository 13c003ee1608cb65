"""The files that a user names: images and videos, folders of them, and lists."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.own import folders, listed, stills
from pipelines.own.listed import LISTS, is_there
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.media import Image

log = logging.getLogger(__name__)


def files(named: Sequence[Path]) -> list[Path]:
    """Every file once, in the order in which they are named.

    A folder stands for all images and videos in it, its sub-folders and the folders linked there, sorted by name; the
    log says how many other files are in it. A sub-folder that cannot be read is a reject when it is read. A list (.txt,
    .csv) stands for the files that it names, see `listed`. A file of a list may be missing; it is a reject when it is
    read.

    Raises:
        UserError: a name that does not exist, an empty folder or list, or a list that cannot be understood.
    """
    paths = [path for name in named for path in _expanded(name)]
    if not paths:
        raise UserError("no file is named: give videos, images, folders of them or a list (.txt, .csv)")
    return list(dict.fromkeys(paths))


def is_image(path: Path) -> bool:
    """Whether it is to be read as an image, by its suffix or else its content; everything else is opened as a video."""
    suffix = path.suffix.lower()
    if suffix in stills.SUFFIXES or suffix in media.VIDEO_SUFFIXES:
        return suffix in stills.SUFFIXES
    return os.path.isdir(path) or stills.begins(path)  # noqa: PTH112  False where the system refuses to tell


def read_image(path: Path) -> Image:
    """The image as a viewer shows it: whole, and turned by its orientation.

    Raises:
        Rejected: it cannot be read.
    """
    try:
        return stills.decode(media.read_file(path))
    except OSError as error:
        raise Rejected("unreadable file", str(error.strerror)) from None


def _expanded(name: Path) -> list[Path]:
    if not is_there(name):
        raise UserError(f"{name} does not exist: name a video, an image, a folder of them or a list (.txt, .csv)")
    if name.is_dir():
        return _inside(name)
    if name.suffix.lower() not in LISTS:
        return [name]
    named = listed.files(name, stills.SUFFIXES | media.VIDEO_SUFFIXES)
    if not named:
        raise UserError(f"{name} should name one file a line, found none")
    return named


def _inside(folder: Path) -> list[Path]:
    found = folders.contents(folder, stills.SUFFIXES | media.VIDEO_SUFFIXES)
    others = found.others()
    if not found.files:
        raise UserError(f"{folder} should hold images or videos, found none{others and f', but {others}'}: they end in "
                        f"{', '.join(sorted(stills.SUFFIXES | media.VIDEO_SUFFIXES))}")  # fmt: skip
    if others:
        log.info("%s: %s", folder, others)
    return found.files
