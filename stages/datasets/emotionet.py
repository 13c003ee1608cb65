"""EmotioNet: the automatic list `dataFile_*.txt`, the manual list `EmotioNet_FACS*`, and images in `images/`.

A row of the automatic list has 62 TAB separated cells and no header: the owner's URL, the original URL, then action
units 1 to 60 as 0, 1 or 999. The manual list of 2020 is a workbook (or its export as csv) with a header row and cells
in single quotes; the older one is a csv with one URL before the units. 999 and an empty cell mean not annotated:
unknown, never absent.

An image is named after its URL, `N_<10 digits>/N_<10 digits>_<5 digits>.jpg`. Older releases list blogs instead: their
images are `by_address/<the first 32 hex digits of the sha256 of the first URL>`. Training: the automatic list. Test:
the manual list, also for images in both; without a manual list it is `dataFile_1000.txt`, as users of release 1.2 do.
"""

import hashlib
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import openpyxl
import pyarrow as pa

from stages.releases import published
from stages.releases.readers import (
    Face,
    Reject,
    Release,
    cells,
    incomplete,
    nearest,
    number,
    printable,
    required,
    separator,
    sha256_by_name,
    text_lines,
)
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

KIND = "detected"
OWNER = "the CBCSL, Ohio State University: form at https://cbcsl.ece.ohio-state.edu/downloads.html"
EXPECTED = "dataFile_*.txt, EmotioNet_FACS*.xlsx (or .csv) and the images in images/"
ACTION_UNITS = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)  # of the 2017 challenge, track 1
LABELS: dict[str, pa.DataType] = {"action_units": pa.list_(pa.int8(), len(ACTION_UNITS))}  # 0, 1 or null: unknown
NAMES = {"action_units": tuple(f"au{unit}" for unit in ACTION_UNITS)}

IMAGES = "images/"
DEFAULT_TEST_LIST = "dataFile_1000.txt"  # if there is no manual list
PUBLISHED = {"test": 24_600, "train": 950_000}  # rows of the manual list of 2020, and of the automatic ones
UNITS = 60
UNKNOWN = 999
MAX_UNPACKED_BYTES = 2**28  # of a workbook
ENCRYPTED = b"\xd0\xcf\x11\xe0"  # an OLE file: what a workbook becomes under a password
_FAR_CELL = re.compile(rb"""\sr\s*=\s*["'](?:[A-Za-z]{4}|[A-Za-z]*\d{8})""")  # XFD1048576 is the last one
_AUTOMATIC = re.compile(r"(?:.*/)?dataFile_\d+\.txt")
_MANUAL = re.compile(r"(?:.*/)?EmotioNet_FACS\w*\.(?:csv|xlsx)")
_NAME = re.compile(r"(?P<folder>N_[0-9]{1,20})_[0-9]{1,20}\.jpg")
_URL = re.compile(r"https?://[^\s/]+/\S+")
_UNIT_COLUMN = re.compile(r"AU ?0*([0-9]{1,3})")


class Row(NamedTuple):
    """One line of a list."""

    name: str  # of the image below `images/`
    urls: tuple[str, ...]  # the owner's copy first
    units: tuple[int | None, ...]  # ACTION_UNITS; None: unknown


def read(raw: Path) -> Release[Face]:
    """Faces of the test list, then of the automatic list; images in both are test images.

    Raises:
        UserError: no list, no images, no manifest, or a manual list that cannot be read.
    """
    names = sha256_by_name(raw)
    images, lists = located(raw, names)
    return Release(_items(raw, lists, images, names), None)


def located(raw: Path, names: Collection[str]) -> tuple[str, list[tuple[str, str]]]:
    """Image folder, and the lists with their split.

    Raises:
        UserError: there are no images, or no list.
    """
    images, lists = required(raw, names, IMAGES, EXPECTED), lists_of(names)
    if not lists:
        raise incomplete(raw, EXPECTED, "list")
    return images, lists


def lists_of(names: Collection[str]) -> list[tuple[str, str]]:
    """Lists of a release and their split, test first. Of several manual lists the longest name, csv before xlsx."""
    automatic = sorted(name for name in names if _AUTOMATIC.fullmatch(name))
    manual = sorted((name for name in names if _MANUAL.fullmatch(name)), key=_rank)
    if not manual and len(automatic) > 1:
        manual = [name for name in automatic if PurePosixPath(name).name == DEFAULT_TEST_LIST]
    if len(manual) > 1:
        log.info("emotionet: reading %s, ignoring %s", manual[0], ", ".join(manual[1:]))
    return [*((name, "test") for name in manual[:1]), *((name, "train") for name in automatic if name not in manual)]


def image_urls(files: Mapping[str, Path]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name within the release and URLs of every image in the lists among `files`, without repeats.

    Raises:
        UserError: a workbook that cannot be read.
    """
    images = nearest(files, IMAGES) or IMAGES
    seen: set[str] = set()
    for name, _ in lists_of(list(files)):
        for row in rows(files[name]):
            if isinstance(row, Row) and row.name not in seen:
                seen.add(row.name)
                yield images + row.name, row.urls


def rows(path: Path) -> Iterator[Row | Reject]:
    """The lines of one list.

    Raises:
        UserError: a workbook that cannot be read.
    """
    lines = _workbook_rows(path) if path.suffix == ".xlsx" else _text_rows(path)
    columns: dict[int, int] | None = None
    count = 0
    for count, line in enumerate(lines, start=1):
        if count == 1 and (columns := _unit_columns(line)) is not None:
            continue
        yield _row(line, columns, f"{path.name}: line {count}")
    if not count:
        yield Reject(path.name, "empty list", "the file has no lines")


def _text_rows(path: Path) -> Iterator[list[str]]:
    """Cells without single quotes; a spreadsheet may have saved the list with another separator."""
    lines = text_lines(path)
    usual = "\t" if path.suffix == ".txt" else ","
    first = lines[0].replace("'", "") if lines else ""
    delimiter = separator(first, usual, lambda row: len(row) > UNITS or _unit_columns(row) is not None)
    return ([cell.strip("' ") for cell in cells(line, delimiter)] for line in lines)


def _rank(name: str) -> tuple[int, str, str]:
    path = PurePosixPath(name)
    return -len(path.stem), path.suffix, name


def _unit_columns(line: Sequence[str]) -> dict[int, int] | None:
    """Action unit -> column index in a table whose first row is `line`; None if that is not a header."""
    columns = {int(match[1]): column for column, cell in enumerate(line) if (match := _UNIT_COLUMN.fullmatch(cell))}
    return columns if set(ACTION_UNITS) <= set(columns) else None


def _row(line: Sequence[str], columns: dict[int, int] | None, where: str) -> Row | Reject:
    urls = tuple(cell for cell in line[:2] if "/" in cell)
    name = _name(urls)
    if name is None:
        return Reject(where, "no image name", "neither of the first two cells is a URL")
    first = len(line) - UNITS  # column of unit 1, in a list without header
    if columns is None and first not in (1, 2):
        return Reject(name, "row of another length", f"{len(line)} cells, expected {UNITS + 1} or {UNITS + 2}")
    if columns is None and not all(line):
        return Reject(name, "row has an empty cell", "a list without header has none, it may be cut off")
    columns = columns or {unit: first + unit - 1 for unit in range(1, UNITS + 1)}
    if len(line) <= max(columns.values()):
        return Reject(name, "row too short", f"{len(line)} cells, expected more than {max(columns.values())}")
    return _labelled(name, urls, {unit: line[column] for unit, column in columns.items()})


def _name(urls: Sequence[str]) -> str | None:
    """The owners' name of an image, otherwise a digest of its URL; None without a URL."""
    for url in urls:
        if match := _NAME.fullmatch(PurePosixPath(url).name):
            return f"{match['folder']}/{match[0]}"
    for url in urls:
        if _URL.fullmatch(url) and printable(url) == url:
            return f"by_address/{hashlib.sha256(url.encode()).hexdigest()[:32]}"
    return None


def _labelled(name: str, urls: tuple[str, ...], codes: Mapping[int, str]) -> Row | Reject:
    """The row, if all codes are valid; a row that was cut off ends in an invalid one."""
    units: dict[int, int | None] = {}
    for unit, code in codes.items():
        value = float(UNKNOWN) if code.lower() in ("", "nan", "none") else number(code)
        if value not in (0, 1, UNKNOWN):
            return Reject(name, "unknown annotation", f"expected 0, 1 or {UNKNOWN}, found {printable(code[:20])!r}")
        units[unit] = None if value == UNKNOWN else int(value)
    labels = tuple(units[unit] for unit in ACTION_UNITS)
    if all(unit is None for unit in labels):
        return Reject(name, "no annotation", "none of the action units is known")
    return Row(name, urls, labels)


def _items(raw: Path, lists: list[tuple[str, str]], images: str, names: dict[str, str]) -> Iterator[Face | Reject]:
    counts: Counter[str] = Counter()
    for list_name, split in lists:
        for row in rows(raw / list_name):
            counts[split] += 1
            if isinstance(row, Reject):
                yield row
            elif images + row.name not in names:
                yield Reject(row.name, "no such image", "it is in the list but not in the release")
            else:
                yield Face(row.name, images + row.name, split, "", labels={"action_units": list(row.units)})
    yield from published.lacking("emotionet", counts, PUBLISHED)


def _workbook_rows(path: Path) -> Iterator[list[str]]:
    """Cells of the first sheet, row by row, stripped of blanks and single quotes; empty cells are empty strings.

    Raises:
        UserError: protected by a password, not a workbook, damaged, or far larger than a list.
    """
    _check_workbook(path)
    try:
        book: Any = openpyxl.load_workbook(path, read_only=True, data_only=True)
        for row in book.worksheets[0].iter_rows(values_only=True):
            if any(cell is not None for cell in row):
                yield ["" if cell is None else str(cell).strip("' ") for cell in row]
        book.close()
    except Exception as error:  # openpyxl documents none, and raises many
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{path} is not a readable workbook ({detail}): download it again, or export it as csv"
        ) from None


def _check_workbook(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(ENCRYPTED)) == ENCRYPTED:
            raise UserError(f"{path} is protected by a password: open it and save it without one, or export it as csv")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
    except Exception as error:  # zipfile raises many about damaged bytes
        raise UserError(
            f"{path} is not a workbook, or is damaged ({error}): download it again, or export it as csv"
        ) from None


def _check_members(archive: zipfile.ZipFile) -> None:
    """Read all members, each no further than its list says, so that openpyxl meets none that is damaged or endless."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise ValueError(f"{unpacked} bytes unpacked, expected at most {MAX_UNPACKED_BYTES}")
    for info in archive.infolist():
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # these two can be stopped
            raise ValueError(f"{info.filename!r} is packed in a way that no workbook is")
        with archive.open(info) as file:
            data = b"".join(iter(partial(file.read, 2**20), b""))
        if _FAR_CELL.search(data):
            raise ValueError("a cell is far beyond the last one that a workbook has")
