"""Shards: uncompressed tar files of JPEGs that any tool opens, with one positioned read for any member.

A shard holds groups of consecutive members (the frames of a track, or one still image). Headers have a fixed time,
owner and mode, so equal content gives equal bytes.
"""

import os
import tarfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from stages.runtime.errors import UserError

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)  # two empty blocks end a tar file


@dataclass(frozen=True)
class Mark:
    """Progress of writing: number of the open shard, and its size so far without the closing blocks."""

    shard: int = 0
    size: int = 0

    def fits(self, folder: Path) -> bool:
        """Whether `folder` holds all shards up to the mark."""
        paths = [folder / shard_name(number) for number in range(self.shard + 1)]
        return all(path.exists() for path in paths) and paths[-1].stat().st_size >= self.size


def shard_name(number: int) -> str:
    """File name of the shard with this number."""
    return f"{number:05d}.tar"


class ShardWriter:
    """Appends groups of members to numbered shards in `folder`, starting at `mark`.

    What a killed run has written after `mark` is removed. A shard that holds `limit_bytes` or more is closed before
    the next group, so it is larger than that by less than one group.
    """

    def __init__(self, folder: Path, limit_bytes: int, mark: Mark | None = None) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._mark = mark or Mark()
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.tar"):
            if path.name > shard_name(self._mark.shard):
                path.unlink()
        self._file = self._open()

    @property
    def mark(self) -> Mark:
        """Where the next member would be written; valid after `flush`."""
        return self._mark

    def begin_group(self) -> None:
        """Start a group: its members lie in one shard."""
        if self._mark.size >= self._limit:
            self.close()
            self._mark = Mark(self._mark.shard + 1)
            self._file = self._open()

    def add(self, name: str, data: bytes) -> tuple[str, int]:
        """Append one member; returns the file name of its shard and the offset of its first byte."""
        header = _header(name, len(data))
        offset = self._mark.size + len(header)
        padding = bytes(-len(data) % _BLOCK)
        self._file.write(header + data + padding)
        self._mark = Mark(self._mark.shard, offset + len(data) + len(padding))
        return shard_name(self._mark.shard), offset

    def flush(self) -> None:
        """Write everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the closing blocks of the open shard."""
        self._file.write(_END)
        self.flush()
        self._file.close()

    def abandon(self) -> None:
        """Close the file of the open shard without closing blocks; a later writer continues from its mark."""
        self._file.close()

    def _open(self) -> BinaryIO:
        path = self._folder / shard_name(self._mark.shard)
        file = path.open("r+b" if path.exists() else "w+b")
        file.truncate(self._mark.size)
        file.seek(self._mark.size)
        return file


class Shards:
    """Reads members of the shards in `folder` by (shard, offset, size); safe between threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _close_all, self._open)

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` of the shard, in one positioned read.

        Raises:
            UserError: the shard is missing or shorter than its index says.
        """
        data = os.pread(self._descriptor(shard), size, offset)
        if len(data) != size:
            raise UserError(
                f"{self._folder / shard} should hold {size} bytes at {offset}, found {len(data)}: "
                "it was cut short, run `dvc repro --force` for the stage that made it"
            )
        return data

    def close(self) -> None:
        """Close the files; `read` opens them again."""
        with self._lock:
            _close_all(self._open)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _descriptor(self, shard: str) -> int:
        with self._lock:
            if shard not in self._open:
                try:
                    self._open[shard] = os.open(self._folder / shard, os.O_RDONLY)
                except FileNotFoundError:
                    raise UserError(f"{self._folder / shard} is missing: run `dvc repro` to make it") from None
            return self._open[shard]


def _close_all(descriptors: dict[str, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
    descriptors.clear()


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(format=tarfile.PAX_FORMAT)
