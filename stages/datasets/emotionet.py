"""EmotioNet: the automatic list `dataFile_*.txt`, the manual list `EmotioNet_FACS*`, and pictures in `images/`.

A row of the automatic list has 62 TAB separated cells and no header: the owner's address, the original address, then
action unit 1 to 60 as 0, 1 or 999. The manual list of 2020 is a workbook (or its export as csv) with a header row
and cells in single quotes; the older one is a csv with one address before the units. 999, and a cell without a
value, mean that nobody looked: unknown, never absent.

A picture is named after its address, `N_<10 digits>/N_<10 digits>_<5 digits>.jpg`. Older releases list blogs instead:
there it is `by_address/<the first 32 hex digits of the sha256 of its first address>`. Training: the automatic list.
Test: the manual list, which wins where both name a picture; without a manual list `dataFile_1000.txt` takes its
place, as users of release 1.2 do.
"""

import hashlib
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

import openpyxl
import pyarrow as pa
from openpyxl.utils.exceptions import InvalidFileException

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
    sha256_by_name,
    text_lines,
)
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

OWNER = "the CBCSL, Ohio State University: form at https://cbcsl.ece.ohio-state.edu/downloads.html"
EXPECTED = "dataFile_*.txt, EmotioNet_FACS*.xlsx (or .csv) and the pictures in images/"
ACTION_UNITS = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)  # of the 2017 challenge, track 1
LABELS: dict[str, pa.DataType] = {"action_units": pa.list_(pa.int8(), len(ACTION_UNITS))}  # 0, 1 or null: unknown

IMAGES = "images/"
STAND_IN = "dataFile_1000.txt"  # is the test list where there is no manual list
UNITS = 60
UNKNOWN = 999
MAX_UNPACKED_BYTES = 2**30  # of a workbook
ENCRYPTED = b"\xd0\xcf\x11\xe0"  # an OLE file: what a workbook becomes under a password
_AUTOMATIC = re.compile(r"(?:.*/)?dataFile_\d+\.txt")
_MANUAL = re.compile(r"(?:.*/)?EmotioNet_FACS\w*\.(?:csv|xlsx)")
_NAME = re.compile(r"(?P<folder>N_\d+)_\d+\.jpg")
_ADDRESS = re.compile(r"https?://[^\s/]+/\S+")
_UNIT_COLUMN = re.compile(r"AU ?0*(\d+)")


class Row(NamedTuple):
    """One line of a list."""

    name: str  # of the picture below `images/`
    addresses: tuple[str, ...]  # where it can be had, the owner's copy first
    units: tuple[int | None, ...]  # ACTION_UNITS; None: unknown


def read(raw: Path) -> Release[Face]:
    """Faces of the test list, then of the automatic list; a name that both hold counts as test.

    Raises:
        UserError: no list, no pictures, no manifest, or a manual list that cannot be read.
    """
    names = sha256_by_name(raw)
    images = required(raw, names, IMAGES, EXPECTED)
    lists = lists_of(names)
    if not lists:
        raise incomplete(raw, EXPECTED, "list")
    if len({split for _, split in lists}) < 2:
        log.info("emotionet: only %s was found, one of training and test split is empty", lists[0][0])
    return Release(_items(raw, lists, images, names), None)


def lists_of(names: Sequence[str] | dict[str, str]) -> list[tuple[str, str]]:
    """Lists of a release and their split, test first. Of several manual lists the longest name, csv before xlsx."""
    automatic = sorted(name for name in names if _AUTOMATIC.fullmatch(name))
    manual = sorted((name for name in names if _MANUAL.fullmatch(name)), key=_rank)
    if not manual and len(automatic) > 1:
        manual = [name for name in automatic if PurePosixPath(name).name == STAND_IN]
    if len(manual) > 1:
        log.info("emotionet: reading %s, leaving %s aside", manual[0], ", ".join(manual[1:]))
    return [*((name, "test") for name in manual[:1]), *((name, "train") for name in automatic if name not in manual)]


def addresses(files: Mapping[str, Path]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name within the release and addresses of every picture that the lists among `files` name, each once.

    Raises:
        UserError: a workbook that cannot be read.
    """
    images = nearest(files, IMAGES) or IMAGES
    seen: set[str] = set()
    for name, _ in lists_of(list(files)):
        for row in rows(files[name]):
            if isinstance(row, Row) and row.name not in seen:
                seen.add(row.name)
                yield images + row.name, row.addresses


def rows(path: Path) -> Iterator[Row | Reject]:
    """The lines of one list.

    Raises:
        UserError: a workbook that cannot be read.
    """
    if path.suffix == ".xlsx":
        lines = _workbook_rows(path)
    else:
        delimiter = "\t" if path.suffix == ".txt" else ","
        lines = ([cell.strip("' ") for cell in cells(line, delimiter)] for line in text_lines(path))
    columns: dict[int, int] | None = None
    count = 0
    for count, line in enumerate(lines, start=1):
        if count == 1 and (columns := _unit_columns(line)) is not None:
            continue
        yield _row(line, columns, f"{path.name}: line {count}")
    if not count:
        yield Reject(path.name, "empty list", "the file has no lines")


def _rank(name: str) -> tuple[int, str, str]:
    path = PurePosixPath(name)
    return -len(path.stem), path.suffix, name


def _unit_columns(line: Sequence[str]) -> dict[int, int] | None:
    """Action unit -> its place in a table whose first row is `line`; None if that is no header."""
    place_of = {int(match[1]): place for place, cell in enumerate(line) if (match := _UNIT_COLUMN.fullmatch(cell))}
    return place_of if set(ACTION_UNITS) <= set(place_of) else None


def _row(line: Sequence[str], columns: dict[int, int] | None, where: str) -> Row | Reject:
    addresses = tuple(cell for cell in line[:2] if "/" in cell)
    name = _name(addresses)
    if name is None:
        return Reject(where, "no picture name", "neither of the first two cells is an address")
    first = len(line) - UNITS  # of the units, in a list without header
    if columns is None and first not in (1, 2):
        return Reject(name, "row of another length", f"{len(line)} cells, expected {UNITS + 1} or {UNITS + 2}")
    if columns is None and not all(line):
        return Reject(name, "row has an empty cell", "a list without header has none, it may be cut off")
    places = columns or {unit: first + unit - 1 for unit in range(1, UNITS + 1)}
    if len(line) <= max(places.values()):
        return Reject(name, "row too short", f"{len(line)} cells, expected more than {max(places.values())}")
    return _labelled(name, addresses, {unit: line[place] for unit, place in places.items()})


def _name(addresses: Sequence[str]) -> str | None:
    """The owners' name of a picture, or one that stands for its address; None without an address."""
    for address in addresses:
        if match := _NAME.fullmatch(PurePosixPath(address).name):
            return f"{match['folder']}/{match[0]}"
    for address in addresses:
        if _ADDRESS.fullmatch(address) and printable(address) == address:
            return f"by_address/{hashlib.sha256(address.encode()).hexdigest()[:32]}"
    return None


def _labelled(name: str, addresses: tuple[str, ...], codes: Mapping[int, str]) -> Row | Reject:
    """All codes have to be known ones: a row that was cut off ends in another."""
    units: dict[int, int | None] = {}
    for unit, code in codes.items():
        value = float(UNKNOWN) if code.lower() in ("", "nan", "none") else number(code)
        if value not in (0, 1, UNKNOWN):
            return Reject(name, "unknown annotation", f"expected 0, 1 or {UNKNOWN}, found {printable(code[:20])!r}")
        units[unit] = None if value == UNKNOWN else int(value)
    chosen = tuple(units[unit] for unit in ACTION_UNITS)
    if all(unit is None for unit in chosen):
        return Reject(name, "no annotation", "none of the action units is known")
    return Row(name, addresses, chosen)


def _items(raw: Path, lists: list[tuple[str, str]], images: str, names: dict[str, str]) -> Iterator[Face | Reject]:
    for list_name, split in lists:
        for row in rows(raw / list_name):
            if isinstance(row, Reject):
                yield row
            elif images + row.name not in names:
                yield Reject(row.name, "no such picture", "the list names it, the release does not hold it")
            else:
                yield Face(row.name, images + row.name, split, "", labels={"action_units": list(row.units)})


def _workbook_rows(path: Path) -> Iterator[list[str]]:
    """Cells of the first sheet, row by row, stripped of blanks and single quotes; an empty cell is an empty text.

    Raises:
        UserError: under a password, no workbook, damaged, or far larger than a list is.
    """
    _check_workbook(path)
    try:
        book: Any = openpyxl.load_workbook(path, read_only=True, data_only=True)
        for row in book.worksheets[0].iter_rows(values_only=True):
            if any(cell is not None for cell in row):
                yield ["" if cell is None else str(cell).strip("' ") for cell in row]
        book.close()
    except (zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, IndexError, EOFError) as error:
        raise UserError(f"{path} is no readable workbook ({error}): fetch it again, or export it as csv") from None


def _check_workbook(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(ENCRYPTED)) == ENCRYPTED:
            raise UserError(f"{path} is locked by a password: open it and save it without one, or export it as csv")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except zipfile.BadZipFile:
        raise UserError(f"{path} is no workbook, or is cut short: fetch it again, or export it as csv") from None
    if unpacked > MAX_UNPACKED_BYTES:
        raise UserError(f"{path} unpacks to {unpacked} bytes, expected at most {MAX_UNPACKED_BYTES}: it is no list")
