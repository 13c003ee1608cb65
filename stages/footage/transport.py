"""MPEG transport streams (ISO/IEC 13818-1, 2.4.3): packets of one size, each of a track, counted from 0 to 15."""

import io
from typing import BinaryIO

import numpy as np

PACKETS = 188, 192, 204  # bytes: plain, with arrival times (M2TS), with error correction
SYNC = 0x47
NONE = -1  # the number of no track
AT_ONCE = 2**14  # packets


def packet_bytes(file: BinaryIO) -> int:
    """Bytes of a packet; 0 if they cannot be told."""
    file.seek(0)
    head = file.read(8 * max(PACKETS))
    for length in PACKETS:
        syncs = head[_sync_at(length) :: length]
        if len(syncs) > 2 and set(syncs) == {SYNC}:
            return length
    return 0


def is_cut(file: BinaryIO) -> bool:
    """Whether the file ends within a packet."""
    length = packet_bytes(file)
    return bool(length) and file.seek(0, io.SEEK_END) % length != 0


def gaps(file: BinaryIO, track: int) -> list[int]:
    """Places in the file before which packets of a track are missing.

    None is where a table of programs (PAT) stands before the packet that begins a frame: there another recording may
    have been joined, whose counts begin anew.
    """
    length, last, at, found = packet_bytes(file), -1, 0, list[int]()
    file.seek(0)
    while length and len(data := file.read(AT_ONCE * length)) >= length:
        heads = np.frombuffer(data, np.uint8, len(data) // length * length).reshape(-1, length)[:, _sync_at(length) :]
        heads = heads[:, :6].astype(int)
        numbers = np.where(heads[:, 0] == SYNC, (heads[:, 1] & 0x1F) << 8 | heads[:, 2], NONE)
        rows = np.flatnonzero((numbers == track) & (heads[:, 3] & 0x10 != 0))
        counts = heads[rows, 3] & 0x0F
        steps = np.diff(counts, prepend=last if last >= 0 else counts[:1]) % 16
        is_told = (heads[rows, 3] & 0x20 != 0) & (heads[rows, 4] > 0) & (heads[rows, 5] & 0x80 != 0)
        for gap in np.flatnonzero((steps > 1) & ~is_told):
            between = numbers[rows[gap - 1] if gap else 0 : rows[gap]]
            if not heads[rows[gap], 1] & 0x40 or (gap and 0 not in between):
                found.append(at + int(rows[gap]) * length)
        last = int(counts[-1]) if len(rows) else last
        at += len(data)
    return found


def _sync_at(length: int) -> int:
    return 4 if length == 192 else 0
