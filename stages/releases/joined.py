"""Several parts of a file as one file, wherever the parts are stored."""

import errno
import io
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any


class Joined(io.RawIOBase):
    """Parts of the given `sizes` one after the other, as one seekable, read-only file.

    `read(part, start, count)` returns bytes of one part: at most `count` from `start` on.
    """

    def __init__(
        self, sizes: Sequence[int], read: Callable[[int, int, int], bytes], close: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__()
        self._starts = [0, *accumulate(sizes)]  # of every part, then the end
        self._read, self._close = read, close
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        if origin + offset < 0:
            raise OSError(errno.EINVAL, f"negative seek position {origin + offset}")  # as the system's files do
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, up to the end of the current part at most."""
        if self._at >= self._starts[-1]:
            return 0
        part = bisect_right(self._starts, self._at) - 1
        count = min(len(buffer), self._starts[part + 1] - self._at)
        data = self._read(part, self._at - self._starts[part], count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()


def files(paths: Sequence[Path], end: bytes = b"") -> Joined:
    """Several files as one file, and `end` after them."""
    with ExitStack() as stack:
        opened: list[int] = []
        for path in paths:
            opened.append(os.open(path, os.O_RDONLY))
            stack.callback(os.close, opened[-1])
        sizes = [os.fstat(file).st_size for file in opened]

        def read(part: int, start: int, count: int) -> bytes:
            return os.pread(opened[part], count, start) if part < len(opened) else end[start : start + count]

        return Joined([*sizes, len(end)], read, stack.pop_all().close)
