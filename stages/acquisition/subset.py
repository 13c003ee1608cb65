"""Rebuild the central directory of a multi-part ZIP archive whose last parts are missing.

The central directory is at the end of a ZIP. The complete members are found by their headers, and a directory of just
those is written as one more part: joined with the other parts it makes a valid ZIP archive.
"""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from stages.acquisition.registry import is_part
from stages.releases import joined
from stages.releases.archives import following_part
from stages.runtime.errors import UserError
from stages.runtime.files import file_identity, replace_bytes, replace_text

_HEADER = struct.Struct("<4s5H3I2H")  # of a member: signature, version, flags, method, time, date, crc, sizes, lengths
_SIGNATURE = b"PK\x03\x04"
_SIZES_FOLLOW = 8  # flag: the sizes are not in the header but behind the data
_ZIP64_EXTRA, _IN_EXTRA = 1, 0xFFFFFFFF
_MAX_NAME_BYTES = 4096
_COUNTED, _LEAST_MEAN_BYTES = 10_000, 200  # so many members have to hold this much each: a clip is far larger


def with_directory(files: Mapping[str, Path], parts: Sequence[str], store: Path) -> dict[str, Path]:
    """`files`, with one more part after `parts` (names, in order): a directory of the complete members.

    Any other parts among `files` are left out.

    Raises:
        UserError: the first part does not begin with a member, its headers have no sizes, a name is damaged, or its
            members are far too small for clips.
    """
    paths = [files[name] for name in parts]
    name = following_part(parts[-1])
    target = store / name
    fingerprint_file = store / f"{name}.of"
    fingerprint = repr([file_identity(path) for path in paths])
    current = target.exists() and fingerprint_file.exists()
    if not current or fingerprint_file.read_text(encoding="utf-8") != fingerprint:
        with io.BufferedReader(joined.files(paths), 1 << 16) as file:
            directory = _directory(file, sum(path.stat().st_size for path in paths), paths[0])
        replace_bytes(target, directory)
        replace_text(fingerprint_file, fingerprint)
    kept = {name: path for name, path in files.items() if name in parts or not is_part(name)}
    return {**kept, name: target}


def _directory(file: IO[bytes], size: int, first: Path) -> bytes:
    tail = _Tail(size)
    with zipfile.ZipFile(tail, "w") as archive:
        at = held = 0
        while (member := _member(file, at, size)) is not None:
            info, at = member
            archive.filelist.append(info)
            held, count = held + info.compress_size, len(archive.filelist)
            if count >= _COUNTED and held < count * _LEAST_MEAN_BYTES:
                raise UserError(f"{first} should hold clips, found {count} members of {held} bytes: download it again")
        if not archive.filelist:
            raise UserError(f"{first} should begin with complete members of a ZIP archive, with their sizes")
        archive.start_dir = size
        archive.comment = b""  # makes zipfile write the directory
    return tail.getvalue()


def _member(file: IO[bytes], at: int, size: int) -> tuple[zipfile.ZipInfo, int] | None:
    """The member whose header is at `at`, and the position of the next one; None if it is not complete."""
    file.seek(at)
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(_SIGNATURE):
        return None
    _, version, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = _HEADER.unpack(head)
    name, extra = file.read(name_length), file.read(extra_length)
    if flags & _SIZES_FOLLOW:
        return None
    if _IN_EXTRA in (packed, unpacked):
        unpacked, packed = _large(extra)
    following = at + _HEADER.size + name_length + extra_length + packed
    if following > size:
        return None
    info = zipfile.ZipInfo(_name(name, flags, at))
    info.header_offset, info.CRC, info.compress_size, info.file_size = at, crc, packed, unpacked
    info.flag_bits, info.compress_type, info.extract_version = flags, method, version & 0xFF
    return info, following


def _name(name: bytes, flags: int, at: int) -> str:
    try:
        if len(name) <= _MAX_NAME_BYTES:
            return name.decode("utf-8" if flags & 0x800 else "cp437")
    except UnicodeDecodeError:
        pass
    raise UserError(f"the ZIP archive is damaged: its member at {at} has no readable name, download the parts again")


def _large(extra: bytes) -> tuple[int, int]:
    """Both sizes from the ZIP64 field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == _ZIP64_EXTRA and length >= 16 and len(extra) >= 20:
            return struct.unpack_from("<2Q", extra, 4)
        extra = extra[4 + length :]
    return 2**63, 2**63


class _Tail(io.BytesIO):
    """A file without its first `offset` bytes."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self._offset = offset

    def tell(self) -> int:
        return super().tell() + self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(offset - self._offset if whence == io.SEEK_SET else offset, whence) + self._offset
