"""Items that the modules in `stages/datasets` return, and functions for reading the owners' text files.

A data set module defines `KIND` ("track", "video", "detected" or "boxed": see `stages.runtime.lists`), `EXPECTED` (one
clause: the contents of its release folder), `OWNER` (whom to ask for it), `LABELS` (column -> Arrow type; empty for
face tracks) and `read(raw) -> Release`. It may define `NAMES` (column -> names of its classes or of its values, for the
contact sheets), `UNPACK_ARCHIVES`, `image_urls(files)` if the release lists images by URL, and `located(raw, names)`,
which raises a UserError if one of `names`, the files of the release, is missing that `read` cannot do without: it is
asked before anything runs.
"""

import codecs
import csv
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fabnet.boxes import Box
from stages.runtime import limits
from stages.runtime.errors import Rejected, UserError, reason

MANIFEST = "manifest.json"
SEPARATORS = (",", ";", "\t")
_WIDE = {  # byte order mark -> encoding; the longer ones first
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
MAX_NAME_BYTES = 255  # of a file or a folder
MAX_LINES = 5_000_000  # of a list; the longest, that of EmotioNet, has about a million
MAX_LINE = 2**16  # letters; the longest, of AffectNet, have about a thousand
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # as str.splitlines has them
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True)
class Reject:
    """One thing of a release that cannot be used."""

    key: str
    kind: str  # a short fixed phrase that many rejects share
    detail: str = ""
    image: str = ""  # path of the image within the release, if the reject is about one
    box_xyxy_px: Box | None = None  # annotated in that image
    owner_split: str | None = None  # of an image without a detected face; None for other rejects

    @property
    def reason(self) -> str:
        """Kind and detail as they are printed."""
        return reason(self.kind, self.detail)


@dataclass(frozen=True)
class Clip:
    """A track as one video file."""

    read: Callable[[], bytes]  # in any process; raises Rejected


@dataclass(frozen=True)
class Frames:
    """A track as encoded images, sorted by frame number at 25 fps."""

    data: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Track:
    """A face track: one person, one shot."""

    identity_id: str
    video_id: str
    track: str  # within the video
    media: Clip | Frames

    @property
    def key(self) -> str:
        """Unique within the data set."""
        return f"{self.identity_id}/{self.video_id}/{self.track}"


@dataclass(frozen=True)
class Video:
    """A video in which faces are still to be found."""

    identity_id: str  # of all faces in it
    video_id: str
    path: Path

    @property
    def key(self) -> str:
        """Unique within the data set."""
        return f"{self.identity_id}/{self.video_id}"


@dataclass(frozen=True)
class Face:
    """A still image with one annotated face."""

    sample_id: str
    image: str  # path within the release
    owner_split: str  # the owner's split: train, val or test; empty where the owner has no splits
    subset: str
    box_xyxy_px: Box | None = None  # annotated box, continuous edges
    points_px: NDArray[np.float64] | None = None  # (N, 2) at pixel centres, first pixel 0; stored as `landmarks`
    labels: Mapping[str, Any] = field(default_factory=dict[str, Any])
    size_px: tuple[int, int] | None = None  # width and height that the owner states for the annotated image
    group_id: str | None = None  # faces of one group stay in one split; None: a group of one face

    @property
    def key(self) -> str:
        """Unique within the data set."""
        return self.sample_id


Item = TypeVar("Item", Track, Video, Face)


@dataclass(frozen=True)
class Release(Generic[Item]):
    """The items of a release, in an order that depends on the release alone; keys may repeat.

    Items are pickled for the processes that work on them.
    """

    items: Iterator[Item | Reject]
    total: int | None  # items and rejects together, where known in advance


def printable(name: str) -> str:
    """The name with bytes that are not UTF-8 written as escapes, so that it can be written to a table."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def safe_path(name: str) -> str:
    """The name as a relative path without `.` components; backslashes, as Windows writes them, become slashes.

    Raises:
        Rejected: empty, absolute, with `..`, too long for a file system, with a control character or not UTF-8.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts:
        raise Rejected("no name", "an empty one")
    if path.is_absolute() or ".." in path.parts or path.parts[0][1:2] == ":":
        raise Rejected("unsafe name", "it leads out of the release")
    if printable(name) != name or _CONTROL_CHARACTER.search(name):
        raise Rejected("unreadable name", "not UTF-8 or with control characters")
    if (longest := max(len(part.encode()) for part in path.parts)) > MAX_NAME_BYTES:
        raise Rejected("name too long", f"{longest} bytes between two slashes, file systems take {MAX_NAME_BYTES}")
    return str(path)


def nearest(names: Collection[str], wanted: str) -> str | None:
    """The shortest of `names` that ends in the file `wanted`; if `wanted` ends in a slash, the path of that folder.

    Capitals count only where both spellings are there. A folder in a folder of the same name, as unpacking makes them,
    is taken if most of what is in both is in it.
    """
    pattern = re.compile(rf"(.*?/)?{re.escape(wanted)}" + ("" if wanted.endswith("/") else "$"), re.IGNORECASE)
    matches = {match[0] for name in names if (match := pattern.match(name))}
    found = min(matches, key=lambda name: (not name.endswith(wanted), len(name), name), default=None)
    return _innermost(names, found) if found and wanted.endswith("/") else found


def _innermost(names: Collection[str], folder: str) -> str:
    inner = f"{folder}{PurePosixPath(folder).name}/"
    count_inside = sum(name.startswith(inner) for name in names)
    count = sum(name.startswith(folder) for name in names)
    return _innermost(names, inner) if 2 * count_inside > count else folder


def required(raw: Path, names: Collection[str], wanted: str, expected: str) -> str:
    """`nearest`, for a file or folder that the release in `raw` must contain; `expected` is the data set's EXPECTED.

    Raises:
        UserError: it is missing.
    """
    name = nearest(names, wanted)
    if name is None:
        raise incomplete(raw, expected, wanted)
    return name


def incomplete(raw: Path, expected: str, missing: str) -> UserError:
    """The error about a release in which a file or folder is missing."""
    return UserError(f"{raw} should hold {expected}: found no {missing}")


def number(text: str, limit: float = 1e6) -> float | None:
    """A finite number below `limit` in size; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < limit else None


def annotation(path: Path, max_bytes: int) -> bytes:
    """All bytes of a small file that belongs to one image.

    Raises:
        Rejected: no such file, one that may not be read, or larger than an annotation is.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise Rejected("damaged annotation", f"{path.name} has {size} bytes, expected at most {max_bytes}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Rejected("damaged annotation", f"there is no file {path.name}") from None
    except PermissionError:
        raise Rejected("unreadable file", f"{path.name} may not be read") from None


def text_lines(path: Path) -> list[str]:
    """Lines without line ends, blank lines and byte order mark; lines may end in CRLF or LF.

    The text is UTF-8, or UTF-16 or UTF-32 with their byte order mark, as PowerShell and Excel write it. Bytes that are
    not UTF-8 become surrogate escapes, which `safe_path` and `printable` handle; half letters become U+FFFD. A line
    ends after MAX_LINE letters: no reader takes one of that length, cut off or not.

    Raises:
        UserError: the file is larger than `limits.list_mib`, or has more than MAX_LINES lines.
    """
    text = _text(path)
    if (count := sum(map(text.count, _LINE_ENDS)) - text.count("\r\n")) > MAX_LINES:
        raise UserError(f"{path} should be a list of at most {MAX_LINES} lines, found {count}: download it again")
    return [line[:MAX_LINE] for line in text.splitlines() if line and not line.isspace()]


def _text(path: Path) -> str:
    if (size := path.stat().st_size) > (most := limits.now().list_bytes):
        raise UserError(
            f"{path} should be a list of at most {most} bytes, found {size}: download it again, or, if it is the "
            "owner's, raise limits.list_mib in params.yaml"
        )
    data = path.read_bytes()
    wide = next((encoding for mark, encoding in _WIDE.items() if data.startswith(mark)), None)
    return data.decode(wide, "replace") if wide else data.decode("utf-8-sig", "surrogateescape")


def separator(line: str, usual: str, fits: Callable[[list[str]], bool]) -> str:
    """What separates the cells of a table, by its first line: `usual`, or another one in which alone `fits` holds."""
    return next((other for other in dict.fromkeys((usual, *SEPARATORS)) if fits(cells(line, other))), usual)


def cells(line: str, delimiter: str = ",") -> list[str]:
    """Stripped cells of one line; an empty list if it cannot be parsed, or was partly overwritten with zeros."""
    if "\0" in line:
        return []
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


def records(path: Path, delimiter: str, columns: list[str]) -> Iterator[dict[str, str] | Reject]:
    """Rows of a table with a header line, as column -> printable cell; rows that are too short are rejects.

    Another delimiter is taken if the header says so: a spreadsheet may have saved the table again.

    Raises:
        UserError: no such file, or no header with `columns`.
    """
    try:
        lines = text_lines(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: it is part of the release, put it beside the archives") from None
    first = lines[0] if lines else ""
    delimiter = separator(first, delimiter, set(columns).issubset)
    header = cells(first, delimiter)
    if missing := [column for column in columns if column not in header]:
        raise UserError(f"{path} should begin with a header that names {missing[0]!r}, found {header}")
    for line in lines[1:]:
        row = cells(line, delimiter)
        if len(row) < len(header):
            yield Reject(printable(f"{path.name}: {line[:80]}"), "row too short")
        else:
            yield dict(zip(header, map(printable, row), strict=False))


def manifest_bytes(raw: Path) -> bytes:
    """The manifest that `fetch` writes when the release is complete.

    Raises:
        UserError: it is missing.
    """
    try:
        return (raw / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{raw / MANIFEST} is missing: run `dvc repro fetch` to make it") from None


def sha256_by_name(raw: Path) -> dict[str, str]:
    """File name within the release -> sha256.

    Raises:
        UserError: the manifest is missing or damaged.
    """
    data = manifest_bytes(raw)
    try:
        digests = {entry["name"]: entry["sha256"] for entry in json.loads(data)["files"]}
        if all(isinstance(word, str) for pair in digests.items() for word in pair):
            return digests
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise UserError(f"{raw / MANIFEST} is damaged: remove it, and run `dvc repro --force fetch` to make it again")
