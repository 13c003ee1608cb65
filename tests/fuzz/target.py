"""One reader of bytes that strangers write, or that a disk may have damaged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis.strategies import SearchStrategy

from stages.releases.readers import Clip, Reject, Release
from stages.runtime.errors import Rejected, UserError

Read = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Target:
    name: str
    make_seeds: Callable[[], Sequence[bytes]]
    read: Read
    odd: Callable[[], SearchStrategy[bytes]] | None = None
    share: int = 10  # of a run's inputs, relative to the others
    allowed: tuple[type[Exception], ...] = (UserError, Rejected)
    is_bounded: bool = False  # the project reads it in a process that may die, and says so
    is_guided: bool = False  # it reads binary data in Python, so that atheris sees how
    finish: Callable[[bytes, Random], bytes] = field(default=lambda data, draw: data)  # after a mutation

    @property
    def seeds(self) -> Sequence[bytes]:
        return _made(self.make_seeds)


@cache
def _made(make: Callable[[], Sequence[bytes]]) -> Sequence[bytes]:
    return make()


def put(folder: Path, data: bytes, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def rejectable(work: Callable[[], object]) -> None:
    try:
        work()
    except Rejected as error:
        pa.array([error.kind, error.detail], pa.string())


def consume(release: Release[Any]) -> None:
    """Look at every item, whose words have to fit into a table, and read a clip."""
    for item in release.items:
        told = (item.key, item.kind, item.detail) if isinstance(item, Reject) else (item.key,)
        pa.array(told, pa.string())
        if isinstance(getattr(item, "media", None), Clip):
            rejectable(item.media.read)
