"""Read archives without unpacking them to disk: multi-part ZIP archives as one file, tar archives as a stream.

Member names are checked before they are used as paths, and an archive that expands more than 200-fold is refused.
"""

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase

from stages.releases import joined
from stages.releases.readers import Reject, printable, safe_path
from stages.runtime import files
from stages.runtime.errors import Rejected, UserError
from stages.storage.media import MAX_FILE_BYTES

MAX_EXPANSION = 200  # images and clips hardly shrink, lists by a factor of ten
FREE_EXPANSION_BYTES = 2**20  # always allowed: too little to do harm
_NO_MEMBERS = bytes(20) + b"PK\5\6" + bytes(18)  # no locator of a ZIP64 archive, then the end of one without members
_PART = re.compile(r"(?P<stem>.+)_part(?P<letters>[a-z]{2})")


class Budget:
    """How many bytes may still be unpacked from an archive of `packed` bytes."""

    def __init__(self, packed: int) -> None:
        self._left = max(FREE_EXPANSION_BYTES, MAX_EXPANSION * packed)

    def spend(self, count: int) -> None:
        """Unpack `count` bytes.

        Raises:
            Rejected: more than is allowed.
        """
        self._left -= count
        if self._left < 0:
            raise Rejected(f"it expands more than {MAX_EXPANSION}-fold")


@dataclass(frozen=True)
class ZipSource:
    """One ZIP archive: its name in messages, and its parts in order."""

    name: str
    paths: tuple[Path, ...]


def zip_sources(folder: Path, skip: str = "") -> list[ZipSource]:
    """ZIP archives in `folder`, whole (`x.zip`) or in parts (`x_partaa`, `x_partab`, ...), sorted by name.

    If both `x.zip` and its parts exist, `x.zip` is used. Names that match the pattern `skip` anywhere are skipped.

    Raises:
        UserError: a part is missing before another one.
    """
    groups: dict[str, dict[str, Path]] = {}
    paths = [path for path in sorted(folder.iterdir()) if not (skip and re.search(skip, path.name))]
    for path in paths:
        if match := _PART.fullmatch(path.name):
            groups.setdefault(match["stem"], {})[match["letters"]] = path
    sources = {path.stem: ZipSource(path.name, (path,)) for path in paths if path.suffix == ".zip"}
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
    """All files in the archive, sorted by name.

    Raises:
        UserError: see `open_zip`.
    """
    with open_zip(source) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.filename)
    return [ZipMember(source, info) for info in infos if not info.is_dir()]


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


def open_zip(source: ZipSource) -> zipfile.ZipFile:
    """The opened archive.

    Raises:
        UserError: its end is missing (usually the last part), a part is too short or too long, or its members expand
            too much.
    """
    file = io.BufferedReader(joined.files(source.paths), 1 << 16)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        file.close()
        raise UserError(
            f"{source.paths[-1].parent / source.name} is not a whole ZIP archive: {_what_is_missing(source)}"
        ) from None
    if archive.infolist() and min(info.header_offset for info in archive.infolist()) != 0:
        archive.close()
        file.close()
        raise UserError(
            f"{source.paths[-1].parent / source.name} is damaged: bytes are missing or too many before its end, "
            "compare the sizes of its files with the owner's and download them again"
        )
    try:
        packed = sum(path.stat().st_size for path in source.paths)
        Budget(packed).spend(sum(info.file_size for info in archive.infolist()))
    except Rejected as error:
        archive.close()
        file.close()
        raise UserError(f"{source.paths[-1].parent / source.name} is refused: {error}") from None
    return archive


def zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """All bytes of one member, checked against its checksum.

    Raises:
        Rejected: damaged, encrypted, compressed in an unknown way, or larger than MAX_FILE_BYTES.
    """
    if info.file_size > MAX_FILE_BYTES:
        raise Rejected("file too large", f"{info.file_size} bytes, at most {MAX_FILE_BYTES} are read")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise Rejected("damaged in the archive", str(error)) from None


def tar_members(path: Path) -> Iterator[tuple[str, bytes] | Reject]:
    """Name and bytes of every regular file of a tar archive, compressed or not, in its order.

    Raises:
        UserError: not a tar archive, damaged, cut short, or it expands too much; possibly after some members.
    """
    try:
        budget = Budget(path.stat().st_size)
        with tarfile.open(path, "r|*") as archive:
            while (member := archive.next()) is not None:
                vars(archive)["members"].clear()  # a stream needs no memory of its millions of members
                budget.spend(member.size)
                if not member.isdir():
                    yield _tar_member(archive, member)
    except Rejected as error:
        raise UserError(f"{path} is refused: {error}") from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise UserError(f"{path} is damaged or cut short ({error}): download it again") from None


def _tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, bytes] | Reject:
    try:
        name = safe_path(member.name)
    except Rejected as error:
        return Reject(printable(member.name), error.kind, error.detail)
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        return Reject(name, "not a regular file in the archive")
    if member.size > MAX_FILE_BYTES:
        return Reject(name, "file too large", f"{member.size} bytes, at most {MAX_FILE_BYTES} are read")
    return name, file.read()


def _what_is_missing(source: ZipSource) -> str:
    match = _PART.fullmatch(source.paths[-1].name)
    if match is None:
        return "it is cut short or another kind of file, download it again"
    return f"{following_part(match[0])} is missing, or {source.paths[-1].name} is cut short; put the whole file there"


def _number(letters: str) -> int:
    return 26 * ascii_lowercase.index(letters[0]) + ascii_lowercase.index(letters[1])


def _letters(number: int) -> str:
    return ascii_lowercase[number // 26] + ascii_lowercase[number % 26]
