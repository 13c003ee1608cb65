"""One run at a time in a working tree, because runs share its parameters and outputs."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(root: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """The working tree for this run alone; `on_wait` gets a sentence if another run has to end first.

    The operating system releases the lock of a run that was killed.
    """
    path = root / ".logs" / "lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait("another run is using this folder: this run starts when that one has ended")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
