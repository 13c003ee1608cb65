"""Shards: uncompressed tar files of JPEGs that any tool opens, with one positioned read for any member.

The frames of a track lie in one shard, one after the other. Headers have a fixed time, owner and mode, so equal content
gives equal bytes.
"""

import hashlib
import os
import resource
import tarfile
import threading
from collections import OrderedDict
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
    """Reads members of the shards in `folder` by (shard, offset, size); safe between threads.

    Of any number of shards, a quarter of the files that the process may open is open at most.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, _Descriptor] = OrderedDict()  # the last one read from comes last
        self._most = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._lock = threading.Lock()

    def read(self, shard: str, offset: int, size: int, sha256: str | None = None) -> bytes:
        """`size` bytes from `offset` of the shard, in one positioned read, compared with their `sha256` if it is given.

        Raises:
            UserError: the shard is missing, shorter than its index says, or holds other bytes.
        """
        opened = self._opened(shard)
        try:
            data = os.pread(opened.number, size, offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder / shard)) from None
        if len(data) != size:
            raise UserError(
                f"{self._folder / shard} should hold {size} bytes at {offset}, found {len(data)}: "
                "it was cut short, run `dvc repro --force` for the stage that made it"
            )
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise UserError(
                f"{self._folder / shard} holds other bytes at {offset} than were written there: the disk has changed "
                "them, run `dvc repro --force` for the stage that made it"
            )
        return data

    def close(self) -> None:
        """Close the files; `read` opens them again."""
        with self._lock:
            self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, shard: str) -> "_Descriptor":
        with self._lock:
            if shard not in self._open:
                self._open[shard] = _Descriptor(self._folder / shard)
            self._open.move_to_end(shard)
            if len(self._open) > self._most:
                self._open.popitem(last=False)
            return self._open[shard]


class _Descriptor:
    """An open file, closed once nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        try:
            self.number = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise UserError(f"{path} is missing: run `dvc repro` to make it") from None

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(format=tarfile.PAX_FORMAT)
