"""RAR 5 archives without compression, in one or more volumes, written for tests."""

import zlib
from collections.abc import Mapping
from pathlib import Path

SIGNATURE = b"Rar!\x1a\x07\x01\x00"
MAIN, FILE, END = 1, 2, 5
HAS_EXTRA, HAS_DATA, SPLIT_BEFORE, SPLIT_AFTER = 1, 2, 8, 16


def write(folder: Path, stem: str, members: Mapping[str, bytes], volumes: int = 1, link: str = "") -> list[Path]:
    """`<stem>.rar`, or volumes `<stem>.part01.rar` and so on, of about equal size.

    `link` adds a symbolic link of that name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, pieces in enumerate(_pieces(members, volumes)):
        content = SIGNATURE + _main(number, volumes) + b"".join(_file(members, *piece) for piece in pieces)
        content += _link(link) if link and number == 0 else b""
        content += _block(END, 0, _vint(int(number < volumes - 1)))
        name = f"{stem}.rar" if volumes == 1 else f"{stem}.part{number + 1:02d}.rar"
        path = folder / name
        path.write_bytes(content)
        paths.append(path)
    return paths


def _pieces(members: Mapping[str, bytes], volumes: int) -> list[list[tuple[str, int, int]]]:
    """For each volume the name, start and end of its pieces of members, none of which is empty."""
    total = sum(map(len, members.values()))
    pieces: list[list[tuple[str, int, int]]] = [[] for _ in range(volumes)]
    offset = 0
    for name, data in members.items():
        for volume, of_volume in enumerate(pieces):
            start = max(0, total * volume // volumes - offset)
            end = min(len(data), total * (volume + 1) // volumes - offset)
            if start < end:
                of_volume.append((name, start, end))
        offset += len(data)
    return pieces


def _main(number: int, volumes: int) -> bytes:
    flags = (1 if volumes > 1 else 0) | (2 if number else 0)
    return _block(MAIN, 0, _vint(flags) + (_vint(number) if number else b""))


def _file(members: Mapping[str, bytes], name: str, start: int, end: int) -> bytes:
    data = members[name]
    flags = HAS_DATA | (SPLIT_BEFORE if start else 0) | (SPLIT_AFTER if end < len(data) else 0)
    checked = data[start:end] if end < len(data) else data
    body = _vint(4) + _vint(len(data)) + _vint(0o100644) + zlib.crc32(checked).to_bytes(4, "little")
    body += _vint(0) + _vint(1) + _named(name)
    return _block(FILE, flags, body, data[start:end])


def _link(name: str) -> bytes:
    record = _vint(5) + _vint(1) + _vint(0) + _named("/etc/passwd")
    body = _vint(0) + _vint(0) + _vint(0o120777) + _vint(0) + _vint(1) + _named(name)
    return _block(FILE, HAS_EXTRA, body, extra=_vint(len(record)) + record)


def _named(name: str) -> bytes:
    return _vint(len(name.encode())) + name.encode()


def _block(kind: int, flags: int, body: bytes, data: bytes = b"", extra: bytes = b"") -> bytes:
    header = _vint(kind) + _vint(flags)
    header += _vint(len(extra)) if flags & HAS_EXTRA else b""
    header += _vint(len(data)) if flags & HAS_DATA else b""
    header += body + extra
    header = _vint(len(header)) + header
    return zlib.crc32(header).to_bytes(4, "little") + header + data


def _vint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
