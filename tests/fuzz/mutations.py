"""Damage to bytes, drawn from a generator: flips, cuts, splices, repeated blocks, other numbers and lengths."""

import re
import struct
from collections.abc import Sequence
from random import Random

MAX_BYTES = 2**18  # of a mutated input
EDGES = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 2,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
WORDS = (
    *(b"-1", b"0", b"1e999", b"-1e-400", b"nan", b"inf", b"1_0", b"0x10", b"9" * 400, b"9" * 5000, b"2147483648"),
    *(b"\0", b"\r\n", b"\r", b"\n\n", b"\t", b",", b";", b'"', b"'", b"#", b"%00", b"%2e%2e%2f", b"../", b"/", b"\\"),
    *(b"{", b"}", b"[[[[", b"<!--", b"*a", b"&a", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"),
    *("é".encode(), "e\u0301".encode(), "\u202e\u2028\u0000".encode(), "\U0001f600".encode(), "٣".encode(), b" " * 300),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def mutated(data: bytes, others: Sequence[bytes], draw: Random) -> bytes:
    """The bytes after one to six changes; now and then a piece of one of `others` is put in."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        draw.choice(_CHANGES)(changed, others, draw)
    return bytes(changed[:MAX_BYTES])


def _place(data: bytearray, draw: Random) -> tuple[int, int]:
    """Start and length of a piece, most of them short, and often among the first bytes, where formats have headers."""
    end = len(data) if draw.random() < 0.6 else min(len(data), 96)
    return draw.randrange(end + 1), min(len(data), draw.choice((1, 1, 2, 4, 8, 16, 64, 512, 4096)))


def _flip(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8))):
        if data:
            data[min(_place(data, draw)[0], len(data) - 1)] ^= 1 << draw.randrange(8)


def _overwrite(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    at, length = _place(data, draw)
    data[at : at + length] = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length), b"9" * length))


def _cut(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    at, length = _place(data, draw)
    if draw.random() < 0.3:
        del data[at:]
    else:
        del data[at : at + length]


def _repeat(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    at, length = _place(data, draw)
    data[at:at] = data[at : at + length] * min(draw.choice((1, 2, 7, 100, 2000)), MAX_BYTES // (length + 1))


def _splice(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    other = draw.choice(others)
    (at, _), (start, length) = _place(data, draw), _place(bytearray(other), draw)
    if draw.random() < 0.2:
        data[at:] = other[start:]
    else:
        data[at : at + draw.choice((0, length))] = other[start : start + length]


def _length(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    """A binary number becomes another one: at an edge, or near what it was, as a wrong length is."""
    form = draw.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    at = _place(data, draw)[0]
    if at + size <= len(data):
        (found,) = struct.unpack_from(form, data, at)
        near = (found + draw.choice((-4, -1, 1, 4)), 2 * found, found // 2, found ^ 1 << draw.randrange(8 * size))
        struct.pack_into(form, data, at, draw.choice((*near, *EDGES)) % 256**size)


def _number(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    """A number in a text becomes another one."""
    found = list(_NUMBER.finditer(data[:8192]))
    if found:
        match = draw.choice(found)
        data[match.start() : match.end()] = draw.choice((*WORDS[:11], str(draw.choice(EDGES)).encode()))


def _insert(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    at = _place(data, draw)[0]
    data[at:at] = draw.choice(WORDS)


def _exchange(data: bytearray, others: Sequence[bytes], draw: Random) -> None:
    """Two pieces change places."""
    (one, length), (other, _) = _place(data, draw), _place(data, draw)
    first, second = min(one, other), max(one, other)
    length = min(length, second - first, len(data) - second)
    if length > 0:
        data[first : first + length], data[second : second + length] = (
            data[second : second + length],
            data[first : first + length],
        )


_CHANGES = (_flip, _flip, _overwrite, _cut, _repeat, _splice, _length, _length, _number, _insert, _exchange)
