"""A folder of one's own videos, in any depth: every face in them is found and followed by the stage `track`.

A first-level folder is one identity, with all videos in it and in its sub-folders; a video beside these folders is an
identity of its own. No identity is in two splits, so all videos of one person belong into one folder.
"""

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa

from stages.releases.readers import Reject, Release, Video, incomplete, safe_path, sha256_by_name
from stages.runtime.errors import Rejected
from stages.storage.media import VIDEO_SUFFIXES

KIND = "video"
OWNER = "you: film them, or take those that you may use"
EXPECTED = "videos such as .mp4, .mov, .avi, .mkv or .webm, all of one person in a folder of its own"
LABELS: dict[str, pa.DataType] = {}


def read(raw: Path) -> Release[Video]:
    """Videos sorted by name; other files are rejects.

    Raises:
        UserError: there is no video.
    """
    names = sorted(sha256_by_name(raw))
    located(raw, names)
    return Release(_items(raw, names), len(names))


def located(raw: Path, names: Collection[str]) -> list[str]:
    """The videos.

    Raises:
        UserError: there is none.
    """
    videos = [name for name in names if _is_video(name)]
    if not videos:
        raise incomplete(raw, EXPECTED, "video")
    return videos


def _items(raw: Path, names: list[str]) -> Iterator[Video | Reject]:
    for name in names:
        try:
            yield _video(raw, name)
        except Rejected as error:
            yield Reject(name, error.kind, error.detail)


def _video(raw: Path, name: str) -> Video:
    if not _is_video(name):
        raise Rejected("not a video", "its name ends in none of " + " ".join(sorted(VIDEO_SUFFIXES)))
    identity, *below = PurePosixPath(safe_path(name)).parts
    return Video(identity, "/".join(below) or identity, raw / name)


def _is_video(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES
