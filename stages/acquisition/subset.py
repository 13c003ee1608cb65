"""A ZIP archive of which only the first parts are there, made whole for what they hold.

The directory of a ZIP is its end, which a subset lacks. The members that are whole are found by walking over their
headers, and a directory of just those is written as one more part: joined with the others it is a ZIP like any other.
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
from stages.runtime.files import file_identity, replace_bytes

_HEADER = struct.Struct("<4s5H3I2H")  # of a member: signature, version, flags, method, time, date, crc, sizes, lengths
_SIGNATURE = b"PK\x03\x04"
_SIZES_FOLLOW = 8  # a flag: the header does not know the sizes
_ZIP64_EXTRA, _IN_EXTRA = 1, 0xFFFFFFFF


def completed(files: Mapping[str, Path], parts: Sequence[str], store: Path) -> dict[str, Path]:
    """`files`, with one more part after `parts` (names, in order): a directory of the members that are whole.

    Further parts that may lie among `files` are left out.

    Raises:
        UserError: the first part does not begin with a member, or its headers do not tell sizes.
    """
    paths = [files[name] for name in parts]
    name = following_part(parts[-1])
    target = store / name
    known = store / f"{name}.of"
    made_of = repr([file_identity(path) for path in paths])
    if not target.exists() or not known.exists() or known.read_text(encoding="utf-8") != made_of:
        with io.BufferedReader(joined.files(paths), 1 << 16) as file:
            directory = _directory(file, sum(path.stat().st_size for path in paths), paths[0])
        replace_bytes(target, directory)
        replace_bytes(known, made_of.encode())
    kept = {name: path for name, path in files.items() if name in parts or not is_part(name)}
    return {**kept, name: target}


def _directory(file: IO[bytes], size: int, first: Path) -> bytes:
    end = _End(size)
    with zipfile.ZipFile(end, "w") as archive:
        at = 0
        while (member := _member(file, at, size)) is not None:
            info, at = member
            archive.filelist.append(info)
        if not archive.filelist:
            raise UserError(f"{first} should begin with the members of a ZIP archive, whole and with their sizes")
        archive.start_dir = size
        archive.comment = b""  # makes it write the directory
    return end.getvalue()


def _member(file: IO[bytes], at: int, size: int) -> tuple[zipfile.ZipInfo, int] | None:
    """The member whose header lies at `at`, and where the next one lies; none if it is not whole."""
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
    info = zipfile.ZipInfo(name.decode("utf-8" if flags & 0x800 else "cp437"))
    info.header_offset, info.CRC, info.compress_size, info.file_size = at, crc, packed, unpacked
    info.flag_bits, info.compress_type, info.extract_version = flags, method, version & 0xFF
    return info, following


def _large(extra: bytes) -> tuple[int, int]:
    """Both sizes from the ZIP64 field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == _ZIP64_EXTRA and length >= 16 and len(extra) >= 20:
            return struct.unpack_from("<2Q", extra, 4)
        extra = extra[4 + length :]
    return 2**63, 2**63


class _End(io.BytesIO):
    """What is written from `offset` on of a file whose beginning is elsewhere."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self._offset = offset

    def tell(self) -> int:
        return super().tell() + self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(offset - self._offset if whence == io.SEEK_SET else offset, whence) + self._offset
