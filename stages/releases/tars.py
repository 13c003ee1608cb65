"""Read tar archives as a stream, compressed or not, without unpacking them to disk.

All of it is read: archives and compressed streams that follow each other in one file (as `tar -A`, `cat` and parallel
packers leave them), the checksums of the compression, and the block of zeros at the end, without which it was cut.
"""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stages.releases.archives import Budget, is_damage
from stages.releases.strangers import is_stranger
from stages.runtime.errors import Rejected, UserError

MAX_HEADER_BYTES = 2**24  # of everything that describes one member: its name, its extended headers, its map of holes
_BLOCK = tarfile.BLOCKSIZE
_OPENERS: dict[bytes, Callable[[Path], Any]] = {  # first bytes -> how to unpack
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\x00\x00\x80": lzma.open,
}


@dataclass(frozen=True)
class TarMember:
    """One member of an archive that is no folder."""

    archive: Path
    name: str  # unchecked
    size: int  # bytes
    target: str = ""  # of a hard link: the name of the member that has the content, unchecked
    file: IO[bytes] | None = None  # None: no regular file

    def read(self) -> bytes:
        """All bytes of a regular file, before the next member is asked for.

        Raises:
            UserError: the archive is damaged here.
        """
        with told(self.archive):
            return self.file.read() if self.file else b""


def members(path: Path) -> Iterator[TarMember]:
    """All members in the order of the archive but for folders and strangers.

    Raises:
        UserError: not a tar archive, damaged, cut short, or it expands too much; possibly after some members.
    """
    with told(path), _unpacked(path) as file:
        stream, budget = _Stream(file), Budget(path.stat().st_size)
        yield from _members(path, stream, budget)
        while stream.continues(budget):
            yield from _members(path, stream, budget)


@contextmanager
def told(path: Path) -> Generator[None, None, None]:
    """What goes wrong inside while the archive is read, as one sentence.

    Raises:
        UserError: the archive is damaged or refused.
    """
    try:
        yield
    except Rejected as error:
        raise UserError(f"{path} is refused: {error}") from None
    except Exception as error:
        if not is_damage(error):
            raise
        raise UserError(f"{path} is damaged or cut short ({error}): download it again") from None


class _Stream:
    """The unpacked bytes of an archive; of what is not the data of a member, only so much is read at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ahead = b""  # read already, but not by tarfile
        self._last = b""
        self.allowed: float = MAX_HEADER_BYTES  # bytes

    def tell(self) -> int:
        return self._file.tell() - len(self._ahead)

    def seek(self, position: int) -> None:
        if position != self.tell():
            self._ahead = b""
            self._file.seek(position)

    def read(self, count: int) -> bytes:
        self.allowed -= count
        if count < 0 or self.allowed < 0:
            raise Rejected("a header is too large", f"at most {MAX_HEADER_BYTES} bytes describe a member")
        self._last = self._ahead[:count] + self._file.read(max(0, count - len(self._ahead)))
        self._ahead = self._ahead[count:]
        return self._last

    def has_ended(self) -> bool:
        """Whether the last that was read is a block of zeros, with which an archive ends."""
        return self._last == bytes(_BLOCK)

    def continues(self, budget: Budget) -> bool:
        """Whether another archive follows the zeros; if not, all was read, and the checksums were compared."""
        while block := self._file.read(_BLOCK):
            budget.spend(len(block))
            if block.strip(b"\0"):
                self._ahead = block
                return True
        return False


def _unpacked(path: Path) -> Any:
    with path.open("rb") as file:
        first = file.read(max(map(len, _OPENERS)))
    for magic, opener in _OPENERS.items():
        if first.startswith(magic):
            return opener(path)
    return path.open("rb")


def _members(path: Path, stream: Any, budget: Budget) -> Iterator[TarMember]:
    """The members of the archive that begins here in the stream."""
    stream.allowed = MAX_HEADER_BYTES
    with tarfile.TarFile(fileobj=stream, mode="r") as archive:
        while (info := archive.next()) is not None:
            if info.size < 0:
                raise tarfile.ReadError("a member of a negative size")
            for kept in ("pax_headers", "members"):  # in memory, which a stream does not need
                vars(archive)[kept].clear()
            stream.allowed = float("inf")
            if not (info.isdir() or is_stranger(info.name)):
                budget.spend(max(0, info.size))
                yield TarMember(
                    path,
                    info.name,
                    info.size,
                    info.linkname if info.islnk() else "",
                    archive.extractfile(info) if info.isreg() else None,
                )
            stream.allowed = MAX_HEADER_BYTES
    if not stream.has_ended():
        raise tarfile.ReadError("no valid member and no end where one has to follow")
