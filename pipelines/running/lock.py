"""One run at a time in a working tree: parameters and outputs belong to the run that has its turn."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(root: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """The working tree for this run alone; `tell` gets a sentence if another one has to end first.

    The operating system gives up the turn of a run that was killed.
    """
    path = root / ".logs" / "turn"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another run works in this folder: this one starts when it has ended")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
