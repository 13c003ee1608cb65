"""Workbooks (.xlsx) as rows of text, with limits that are checked before anything is unpacked."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from stages.runtime.errors import UserError

MAX_UNPACKED_BYTES = 2**30
ENCRYPTED = b"\xd0\xcf\x11\xe0"  # an OLE file: what a workbook becomes under a password


def workbook_rows(path: Path) -> Iterator[list[str]]:
    """Cells of the first sheet, row by row, stripped of blanks and single quotes; an empty cell is an empty text.

    Raises:
        UserError: under a password, no workbook, damaged, or far larger than a list is.
    """
    _check(path)
    try:
        book: Any = openpyxl.load_workbook(path, read_only=True, data_only=True)
        for row in book.worksheets[0].iter_rows(values_only=True):
            if any(cell is not None for cell in row):
                yield ["" if cell is None else str(cell).strip("' ") for cell in row]
        book.close()
    except (zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, IndexError, EOFError) as error:
        raise UserError(f"{path} is no readable workbook ({error}): fetch it again, or export it as csv") from None


def _check(path: Path) -> None:
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
