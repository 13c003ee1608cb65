"""What the segments of a JPEG tell before it is decoded. Fill bytes between them are passed over."""

import re
import struct
from collections.abc import Iterator

from stages.runtime.errors import Rejected

MAX_SCANS = 100  # each one visits all blocks again; encoders write about ten
MAX_SEGMENTS = 10_000

_START, _START_OF_SCAN, _END, _HUFFMAN = 0xD8, 0xDA, 0xD9, 0xC4
_BASELINE = (0xC0, 0xC1)
_END_OF_BLOCK = 0x00
_HOLE = bytes(128)
_IN_SCAN = re.compile(rb"\x00{%d,}+(?!\xff[\x01-\xff])" % len(_HOLE))
_NOT_SIZES = (0xC4, 0xC8, 0xCC)  # among 0xC0 to 0xCF
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte, nor fill bytes, nor a restart


def is_jpeg(data: bytes) -> bool:
    """Whether the data begins as a JPEG does."""
    return data.startswith(b"\xff\xd8")


def size(data: bytes) -> tuple[int, int]:
    """Width and height in px.

    Raises:
        Rejected: there is none, or there are too many segments.
        struct.error: the data ends within it.
    """
    for marker, payload in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_SIZES:
            height, width = struct.unpack(">HH", data[payload + 1 : payload + 5])
            return width, height
    raise Rejected("image is cut short")


def check(data: bytes) -> None:
    """Whether it ends, has no hole, and can be decoded in the time that an image may take.

    Raises:
        Rejected: no end marker follows the first scan, zeros where pixels should be, too many scans or segments.
    """
    segments = list(_segments(data))
    scans = [payload for marker, payload in segments if marker == _START_OF_SCAN]
    # These two bytes never follow each other inside a scan.
    if not scans or data.rfind(b"\xff\xd9", scans[0]) < 0:
        raise Rejected("image is cut short")
    if len(scans) > MAX_SCANS:
        raise Rejected("image has too many scans", f"{len(scans)}, at most {MAX_SCANS} are decoded")
    if _has_hole(data, segments):
        raise Rejected("image is damaged", f"at least {len(_HOLE)} zeros follow each other where pixels should be")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and offset of the payload of every segment, up to the end marker or to where the data ends."""
    found, number = _MARKER.search(data, 2), 0
    while found and (marker := data[found.end() - 1]) != _END:
        yield marker, found.end() + 2
        length = 0 if marker in (0x01, _START) else int.from_bytes(data[found.end() : found.end() + 2])
        found, number = _MARKER.search(data, found.end() + length), number + 1
        if number > MAX_SEGMENTS:
            raise Rejected("image is damaged", f"it has more than {MAX_SEGMENTS} segments")


def _has_hole(data: bytes, segments: list[tuple[int, int]]) -> bool:
    """Whether a baseline scan holds zeros that no picture has, which libjpeg may decode without a word.

    In a Huffman table zeros are the code of its first symbol. Unless that ends a block, they would be blocks whose
    coefficients are all alike. Zeros before a marker are padding.
    """
    if data.find(_HOLE) < 0 or not {marker for marker, _ in segments} & set(_BASELINE):
        return False
    first = _first_symbols(data, segments)
    for marker, payload in segments:
        if marker == _START_OF_SCAN:
            tables = [data[payload + 2 + 2 * component] & 15 for component in range(data[payload])]
            end = _MARKER.search(data, payload)
            hole = _IN_SCAN.search(data, payload, end.start() + 2 if end else len(data))
            if hole and any(first.get(table, _END_OF_BLOCK) != _END_OF_BLOCK for table in tables):
                return True
    return False


def _first_symbols(data: bytes, segments: list[tuple[int, int]]) -> dict[int, int]:
    """The symbol of the code that is all zeros, in each Huffman table of AC coefficients."""
    first: dict[int, int] = {}
    for marker, start in segments:
        at, end = start, start - 2 + int.from_bytes(data[start - 2 : start])
        while marker == _HUFFMAN and at + 17 < min(end, len(data)):
            if data[at] >> 4 == 1:
                first[data[at] & 15] = data[at + 17]
            at += 17 + sum(data[at + 1 : at + 17])
    return first
