"""Lists of files as people's programs write them: one name a line, or a table with a column of names.

A name that is not there as it is written finds the one file that differs from it only as systems change names: in how
accents are composed, in case, in the encoding of its letters, in what Windows does not allow, or cut where no system
has room for more. If two files, or none, could be meant, the name stays as it is and becomes a reject.
"""

import logging
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence, Set
from functools import cache
from pathlib import Path

from stages.releases.readers import SEPARATORS, cells, printable, text_lines
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

LISTS = frozenset({".txt", ".csv"})
HEADERS = ("file", "path", "source", "filename", "video", "image")  # of the column that names the files
LONGEST = 255  # bytes or letters of a name, on every common system
EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # a first line that only tells Excel the separator
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')  # in names on Windows; programs that unpack there write _


def files(path: Path, suffixes: Set[str]) -> list[Path]:
    """The files of a list, which its names are relative to, in its order.

    A .txt has one name a line. A .csv, or a .txt with tabs, has a column that is called as in HEADERS, or no header
    and the names in its first column; commas, semicolons or tabs separate cells.

    Args:
        path: of the list.
        suffixes: of images and videos; a first line without a file is a header.

    Raises:
        UserError: no text, or a header that names no column of files.
    """
    lines = text_lines(path)
    if any("\0" in line for line in lines):
        raise UserError(f"{path} should be text, found zero bytes: save it as UTF-8")
    if path.suffix.lower() == ".txt" and "\t" not in "".join(lines[:1]):
        names = [line.strip() for line in lines]
    else:
        names = list(_column(path, lines, suffixes))
    return _located(path, names)


def is_there(path: Path) -> bool:
    """Whether there is such a file; False for a name that the system refuses."""
    try:
        return path.exists()
    except OSError:
        return False


def spelled(name: str | Path) -> str:
    """A name of the file system in letters, whatever the locale; bytes that are not UTF-8 are surrogate escapes."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def shown(name: str | Path) -> str:
    """A name of the file system as tables have it; bytes that are not UTF-8 are written as escapes."""
    return printable(spelled(name))


def on_disk(name: str) -> str:
    """A name in letters as Python needs it to open the file, which an ASCII locale limits: the other way round."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def _column(path: Path, lines: Sequence[str], suffixes: Set[str]) -> Iterator[str]:
    """The names in a table."""
    separators: Sequence[str] = SEPARATORS
    if lines and (told := EXCEL.fullmatch(lines[0].strip())):
        separators, lines = told[1], lines[1:]
    lines = [line for line in lines if any(any(cells(line, separator)) for separator in separators)]
    if not lines:
        return
    separator, column, has_header = _form(path, lines[0], separators, suffixes)
    empty = 0
    for line in lines[has_header:]:
        row = cells(line, separator)
        if len(row) > column and row[column]:
            yield row[column]
        else:
            empty += 1
    if empty:
        log.warning("%s: %d rows name no file", path, empty)


def _form(path: Path, first: str, separators: Sequence[str], suffixes: Set[str]) -> tuple[str, int, bool]:
    """Separator, column of the names, and whether there is a header.

    Raises:
        UserError: the first line is a header, and it names no column of files.
    """
    for separator in separators:
        header = [re.sub(r"[\s_]", "", cell).lower() for cell in cells(first, separator)]
        if column := next((header.index(name) + 1 for name in HEADERS if name in header), 0):
            return separator, column - 1, True
    for separator in separators:
        name, *others = cells(first, separator) or [""]
        is_named = Path(name).suffix.lower() in suffixes and (others or not set(first) & set(separators))
        if is_named or (name and is_there(path.parent / on_disk(name))):
            return separator, 0, False
    raise UserError(f"{path} has no column {', '.join(HEADERS[:-1])} or {HEADERS[-1]}: found {printable(first)}; "
                    f"call the column that names the files `{HEADERS[0]}`")  # fmt: skip


def _located(listed: Path, names: Sequence[str]) -> list[Path]:
    """The file that each name means; where none is found, or several are, the path as it is written."""
    exact = {name: listed.parent / on_disk(name) for name in names}
    missing = [name for name, path in exact.items() if not is_there(path)]
    taken = set(exact.values()) - {exact[name] for name in missing}
    folders = cache(_Folder)
    claims: dict[Path, set[str]] = {}
    found: dict[str, Path] = {}
    for name in missing:
        path = _found(listed.parent, name, folders)
        if path is not None and path not in taken:
            found[name] = path
            claims.setdefault(path, set()).add(_composed(name))
    found = {name: path for name, path in found.items() if len(claims[path]) == 1}
    _tell(listed, [name for name in missing if name not in found], folders)
    return [found.get(name, exact[name]) for name in names]


def _found(folder: Path, name: str, folders: Callable[[Path], "_Folder"]) -> Path | None:
    """The one file that a name means, part by part of its path."""
    if name.startswith("/"):
        folder = Path("/")
    parts = [part for part in re.split(r"[/\\]", on_disk(name)) if part]  # Windows has backslashes
    for part in parts:
        there = folder / part
        if not is_there(there):
            known = folders(folder).match(spelled(part))
            if known is None:
                return None
            there = folder / known
        folder = there
    return folder


def _tell(listed: Path, missing: Sequence[str], folders: Callable[[Path], "_Folder"]) -> None:
    """Log how many names find no file, and which file the first of them may have become."""
    if not missing:
        return
    near = ""
    for name in missing[:100]:
        path = listed.parent / on_disk(name)
        if is_there(path.parent) and (candidate := folders(path.parent).begins(spelled(path.name))):
            near = f"; {printable(name)} may be {shown(candidate)}: write the name as it is"
            break
    log.warning("%s: %d of its files are not there, such as %s%s", listed, len(missing), printable(missing[0]), near)


def _composed(name: str) -> str:
    """The name in letters with their accents; bytes that are not UTF-8 are taken for those of Windows."""
    data = name.encode("utf-8", "surrogateescape")
    try:
        name = data.decode("utf-8")
    except UnicodeDecodeError:
        name = data.decode("cp1252", "replace")
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    """What is left of a name on any system."""
    return FORBIDDEN.sub("_", _composed(name)).rstrip(" .").casefold()


class _Folder:
    """The names in a folder, by what systems leave of them."""

    def __init__(self, path: Path) -> None:
        try:
            self._names = sorted(os.listdir(path))  # noqa: PTH208  names, not paths
        except OSError:
            self._names = []
        self._by = [(key, self._keyed(key)) for key in (_composed, _plain)]

    def match(self, name: str) -> str | None:
        """The one name that is the same but for how systems change it."""
        for key, known in self._by:
            if len(same := known.get(key(name), [])) == 1:
                return same[0]
        if max(len(name), len(name.encode("utf-8", "surrogateescape"))) > LONGEST:
            return self.begins(name)
        return None

    def begins(self, name: str) -> str | None:
        """The one name of the same kind that is the beginning of a longer one."""
        whole = Path(_plain(name))
        begun = [
            known
            for known in self._names
            if (plain := Path(_plain(spelled(known)))).suffix == whole.suffix
            and len(plain.stem) >= 8  # letters, which systems have always kept
            and whole.stem.startswith(plain.stem)
        ]
        return begun[0] if len(begun) == 1 else None

    def _keyed(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        known: dict[str, list[str]] = {}
        for name in self._names:
            known.setdefault(key(spelled(name)), []).append(name)
        return known
