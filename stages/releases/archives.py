"""Read ZIP archives without unpacking them to disk, several parts as one file; and what all archives have in common.

An archive that expands further than `limits.expansion` allows is refused.
"""

import errno
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase

from stages.releases import joined
from stages.releases.strangers import is_stranger
from stages.runtime import files, limits
from stages.runtime.errors import Rejected, UserError
from stages.storage.media import check_size

FREE_EXPANSION_BYTES = 2**20  # always allowed: too little to do harm
_DAMAGE = (  # what Python's libraries raise about damaged bytes
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError, MemoryError),
)
_MEMBER_HEADER_BYTES = 30  # without the name
_CHUNK = 2**20
_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 98: "ppmd"}  # that are not read
_END, _LONGEST_END_BYTES = b"PK\5\6", 22 + 2**16  # of an archive: a signature, then the number of its last piece
_NO_MEMBERS = bytes(20) + b"PK\5\6" + bytes(18)  # no locator of a ZIP64 archive, then the end of one without members
_PART = re.compile(r"(?P<stem>.+)_part(?P<letters>[a-z]{2})")


def is_damage(error: Exception) -> bool:
    """Whether a library raises this about damaged bytes.

    An OSError of a library has no number; one of the system is about these bytes if they name an impossible position.
    """
    return isinstance(error, _DAMAGE) or (isinstance(error, OSError) and error.errno in (None, errno.EINVAL))


class Budget:
    """How many bytes may still be unpacked from an archive of `packed` bytes."""

    def __init__(self, packed: int) -> None:
        self._times = limits.now().expansion
        self._left = max(FREE_EXPANSION_BYTES, int(self._times * packed))

    def spend(self, count: int) -> None:
        """Unpack `count` bytes.

        Raises:
            Rejected: more than is allowed.
        """
        self._left -= count
        if self._left < 0:
            raise Rejected(
                f"it expands more than {self._times:g}-fold",
                "if it is the owner's, raise limits.expansion in params.yaml",
            )


@dataclass(frozen=True)
class ZipSource:
    """One ZIP archive: its name in messages, and its parts in order."""

    name: str
    paths: tuple[Path, ...]


def zip_sources(folder: Path, skip: str = "") -> list[ZipSource]:
    """ZIP archives in `folder`, whole (`x.zip`) or in parts (`x_partaa`, `x_partab`, ...), sorted by name.

    If both `x.zip` and its parts exist, `x.zip` is used. Names that match the pattern `skip` anywhere are skipped.

    Raises:
        UserError: a part is missing before another one, or a split archive is not joined.
    """
    groups: dict[str, dict[str, Path]] = {}
    paths = [path for path in sorted(folder.iterdir()) if not (skip and re.search(skip, path.name))]
    paths = [path for path in paths if not is_stranger(path.name)]
    for path in paths:
        check_not_split(path)
        if match := _PART.fullmatch(path.name):
            groups.setdefault(match["stem"], {})[match["letters"]] = path
    sources = {path.stem: ZipSource(path.name, (path,)) for path in paths if path.suffix.lower() == ".zip"}
    for stem, parts in groups.items():
        expected = [_letters(number) for number in range(_number(max(parts)) + 1)]
        if missing := [letters for letters in expected if letters not in parts]:
            raise UserError(
                f"{folder / f'{stem}_part{missing[0]}'} is missing: expected {stem}_partaa to "
                f"{stem}_part{expected[-1]} without a gap, put the missing part there"
            )
        sources.setdefault(stem, ZipSource(f"{stem}_part*", tuple(parts[letters] for letters in expected)))
    return [sources[stem] for stem in sorted(sources)]


@dataclass(frozen=True)
class ZipMember:
    """One file in a ZIP archive, which any process can read that sees the archive."""

    source: ZipSource
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """Its name in the archive, unchecked."""
        return self.info.filename

    def read(self) -> bytes:
        """All its bytes.

        Raises:
            Rejected: see `zip_member`.
            UserError: the archive is not there any more.
        """
        try:
            identities = tuple(tuple(files.file_identity(path)) for path in self.source.paths)
        except FileNotFoundError as error:
            raise UserError(f"{error.filename} is gone: put it back and run the same command again") from None
        return zip_member(_unlisted(self.source, identities), self.info)


def zip_members(source: ZipSource) -> list[ZipMember]:
    """All files in the archive but for strangers, sorted by name.

    Raises:
        UserError: see `open_zip`.
    """
    with open_zip(source) as archive:
        return [ZipMember(source, info) for info in sorted(zip_files(archive), key=lambda info: info.filename)]


def zip_files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """All members in the order of the archive but for folders and strangers."""
    infos = archive.infolist()
    return [info for info in infos if not info.filename.endswith(("/", "\\")) and not is_stranger(info.filename)]


@lru_cache(maxsize=2)  # archives are read one after the other
def _unlisted(source: ZipSource, identities: tuple[tuple[int, ...], ...]) -> zipfile.ZipFile:
    """The archive without its list of members, which takes a gigabyte for a million of them: it ends like an empty one.

    A file that was replaced has another identity, so that it is opened anew.
    """
    return zipfile.ZipFile(io.BufferedReader(joined.files(source.paths, end=_NO_MEMBERS), 1 << 16))


def following_part(name: str) -> str:
    """`x_partac` after `x_partab`."""
    stem, letters = name[:-2], name[-2:]
    return f"{stem}{_letters(_number(letters) + 1)}"


def check_not_split(path: Path) -> None:
    """Check that a file is no piece of a split archive: `x.z01`, `x.z02`, ... and at last `x.zip`.

    Raises:
        UserError: it is one.
    """
    if re.fullmatch(r"\.z\d\d", path.suffix, re.IGNORECASE):
        raise _split(path.with_suffix(".zip"))


def open_zip(source: ZipSource) -> zipfile.ZipFile:
    """The opened archive.

    Raises:
        UserError: its end is missing (usually the last part), a part is too short or too long, it is a piece of a split
            archive, or its members lie in each other or expand too much.
    """
    where = source.paths[-1].parent / source.name
    file = io.BufferedReader(joined.files(source.paths), 1 << 16)
    try:
        archive = zipfile.ZipFile(file)
        check_members(archive.infolist(), sum(path.stat().st_size for path in source.paths), str(where))
    except Exception as error:
        file.close()
        if _is_last_of_several(source.paths[-1]):
            raise _split(source.paths[-1]) from None
        if isinstance(error, UserError) or not is_damage(error):
            raise
        if isinstance(error, UnicodeDecodeError):
            raise UserError(f"{where} names a member in damaged UTF-8: pack it again, or download it again") from None
        raise UserError(f"{where} is not a whole ZIP archive: {_what_is_missing(source)}") from None
    return archive


def check_members(infos: Sequence[zipfile.ZipInfo], packed: int, where: str) -> None:
    """Check that the members of an archive of `packed` bytes fill it from its start, each in a place of its own.

    Raises:
        UserError: they do not, or expand too much; it begins with `where`.
    """
    by_place = sorted(infos, key=lambda info: info.header_offset)
    if by_place and by_place[0].header_offset != 0:
        raise UserError(
            f"{where} is damaged: bytes are missing or too many before its end, compare the sizes of its files with "
            "the owner's and download them again"
        )
    for info, following in pairwise(by_place):
        if info.header_offset + _MEMBER_HEADER_BYTES + info.compress_size > following.header_offset:
            raise UserError(f"{where} is refused: two of its members lie in each other")
    try:
        Budget(packed).spend(sum(info.file_size for info in infos))
    except Rejected as error:
        raise UserError(f"{where} is refused: {error}") from None


def zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """All bytes of one member, checked against its checksum.

    Raises:
        Rejected: damaged, encrypted, compressed in an unknown way, or larger than `limits.file_mib`.
    """
    check_size(info.file_size)
    return b"".join(zip_chunks(archive, info))


def zip_chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of one member, a little at a time: no more than its list says, whatever is packed in it.

    Raises:
        Rejected: damaged, encrypted, or compressed in an unknown way.
    """
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile can stop these two at a limit
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise Rejected("packed in a way that is not read", f"by {method}: unpack it, and pack it again with `zip -r`")
    try:
        with archive.open(info) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except Exception as error:
        if not is_damage(error):
            raise
        kind = "encrypted in the archive" if info.flag_bits & 1 else "damaged in the archive"
        raise Rejected(kind, str(error) or type(error).__name__) from None


def _is_last_of_several(path: Path) -> bool:
    """Whether the file ends as the last piece of a split archive does, which has the pieces' number."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_END_BYTES))
        _, found, end = file.read().rpartition(_END)
    return bool(found) and end[:2] not in (b"", b"\0\0", b"\xff\xff")


def _split(last: Path) -> UserError:
    joined_name = f"{last.stem}-joined.zip"
    return UserError(
        f"{last} is a split archive (.z01): join it with `zip -s 0 {last.name} --out {joined_name}`, and put "
        f"{joined_name} there instead of its pieces"
    )


def _what_is_missing(source: ZipSource) -> str:
    match = _PART.fullmatch(source.paths[-1].name)
    if match is None:
        return "it is cut short or another kind of file, download it again"
    return f"{following_part(match[0])} is missing, or {source.paths[-1].name} is cut short; put the whole file there"


def _number(letters: str) -> int:
    return 26 * ascii_lowercase.index(letters[0]) + ascii_lowercase.index(letters[1])


def _letters(number: int) -> str:
    return ascii_lowercase[number // 26] + ascii_lowercase[number % 26]
