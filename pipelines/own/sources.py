"""The files that a user names: pictures and videos, folders of them, and lists."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.releases.readers import cells, text_lines
from stages.runtime.errors import UserError

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".asf",
        ".3gp",
        ".3g2",
        ".ts",
        ".mts",
        ".m2ts",
        ".m2v",
        ".flv",
        ".ogv",
        ".gif",
        ".webp",
    }
)
LISTS = frozenset({".txt", ".csv"})
HEADERS = ("file", "path", "source", "filename", "video", "image")  # of the column with the files of a CSV


def files(named: Sequence[Path]) -> list[Path]:
    """Every file once, in the order in which they are named.

    A folder stands for its pictures and videos by name, those of its sub-folders included. A list (.txt, .csv)
    stands for one file a line, relative to the list: the whole line, or of a CSV the column that HEADERS name, else
    the first one. What a list names may be missing; that shows when it is read.

    Raises:
        UserError: a name that does not exist, or a folder or list without anything in it.
    """
    found = [path for name in named for path in _expanded(name)]
    if not found:
        raise UserError("no file is named: give videos, pictures, folders of them or a list (.txt, .csv)")
    return list(dict.fromkeys(found))


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture; everything else is opened as a video."""
    return path.suffix.lower() in PICTURES


def is_there(path: Path) -> bool:
    """Whether there is such a file; no name that the system refuses is."""
    try:
        return path.exists()
    except OSError:
        return False


def _expanded(name: Path) -> list[Path]:
    if not is_there(name):
        raise UserError(f"{name} does not exist: name a video, a picture, a folder of them or a list (.txt, .csv)")
    if name.is_dir():
        inside = sorted(path for path in name.rglob("*") if path.suffix.lower() in PICTURES | VIDEOS)
        if not inside:
            raise UserError(f"{name} should hold pictures or videos, found none: {', '.join(sorted(PICTURES))} or "
                            f"{', '.join(sorted(VIDEOS))}")  # fmt: skip
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
