"""Shards: uncompressed tar files of JPEGs that any tool opens, with one positioned read for any member.

The frames of a track lie in one shard, one after the other. Headers have a fixed time, owner and mode, so equal content
gives equal bytes.
"""

import os
import tarfile
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from stages.runtime.errors import UserError

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)  # two empty blocks end a tar file


def shard_name(number: int) -> str:
    """File name of the shard with this number."""
    return f"{number:05d}.tar"


class ShardWriter:
    """Writes members one after the other into a new shard at `path`; the shard is whole when the block ends.

    When the block raises, the file stays as it is.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._size = 0  # so far, without the closing blocks

    def add(self, name: str, data: bytes) -> int:
        """Append one member; returns the offset of its first byte."""
        header = _header(name, len(data))
        padding = bytes(-len(data) % _BLOCK)
        self._file.write(header + data + padding)
        offset = self._size + len(header)
        self._size = offset + len(data) + len(padding)
        return offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if error is None:
                file.write(_END)
                file.flush()
                os.fsync(file.fileno())


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
