"""What servers send with status 200 instead of a file: a page, an empty answer, or a sentence about a key."""

import re
from pathlib import PurePosixPath

from stages.acquisition.registry import is_part

HEAD_BYTES = 4096  # that are looked at
PAGES = frozenset({".html", ".htm"})
COMPRESSED = frozenset({".gz", ".tgz", ".bz2", ".xz", ".z"})
_TEXTS = frozenset({".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".pts"})
_TABLES = frozenset({".csv", ".tsv"})
_MARKED = frozenset({".json", ".xml"})  # texts that begin with a bracket
_BINARY_HEAD_BYTES = 512
_BLANKS = re.compile(rb"\s*")
_TAG = re.compile(rb"<(!doctype\s+html|html|head|body)", re.IGNORECASE)
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]+")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_page(head: bytes) -> bool:
    """Whether a file begins as an HTML page does, after blanks, an XML declaration and comments."""
    at = _after_blanks(head, 0)
    if head.startswith(b"<?xml", at):
        at = _after(head, b"?>", at)
    while head.startswith(b"<!--", at):
        at = _after(head, b"-->", at)
    return _TAG.match(head, at) is not None


def complaint(name: str, head: bytes, size: int) -> str:
    """Why an answer cannot be the file `name`, of which neither size nor digest are known; empty if it may be.

    `head`: its first HEAD_BYTES.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if not size:
        return "an empty answer"
    if suffix in PAGES:
        return ""
    if is_page(head):
        return "an HTML page"
    if suffix not in _TEXTS:
        is_text = _TEXT.fullmatch(head[:_BINARY_HEAD_BYTES]) is not None
        return "text" if is_text and (suffix or is_part(name)) else ""
    return _other_text(suffix, head, size)


def _other_text(suffix: str, head: bytes, size: int) -> str:
    """Why a text cannot be of the kind that its suffix names; empty if it may be."""
    if suffix not in _MARKED and head.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith((b"<", b"{")):
        return "text of another kind"
    if size == len(head) and not re.search(rb"[\r\n]", head.strip()):
        return "a single line of text"
    has_columns = any(separator in line for line in head.splitlines()[:2] for separator in b",;\t")
    return "text without columns" if suffix in _TABLES and not has_columns else ""


def _after_blanks(head: bytes, at: int) -> int:
    if not at and head.startswith(_BYTE_ORDER_MARK):
        at = len(_BYTE_ORDER_MARK)
    match = _BLANKS.match(head, at)
    return match.end() if match else at


def _after(head: bytes, end: bytes, at: int) -> int:
    """The place after `end` and blanks; that of the end where it is missing."""
    found = head.find(end, at)
    return len(head) if found < 0 else _after_blanks(head, found + len(end))
