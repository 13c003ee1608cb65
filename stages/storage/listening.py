"""What C libraries write to standard error: OpenCV's decoders tell of damage there alone."""

import os
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

_STDERR = 2
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def heard(wanted: re.Pattern[bytes]) -> Generator[list[str]]:
    """What matches `wanted`, once a line, of all that is written to standard error meanwhile; filled at the end.

    All other lines are passed on then: another thread may have written them. One block at a time in a process; what
    a pipe cannot hold is lost (64 KiB on Linux).
    """
    matches: list[str] = []
    with _ONE_AT_A_TIME:
        end, start = os.pipe()
        try:
            with _in_place_of_stderr(start):
                yield matches
        finally:
            written = _drained(end)
    for line in written.splitlines(keepends=True):
        if match := wanted.search(line):
            matches.append(match[0].decode(errors="replace").strip())
        else:
            with suppress(OSError):
                os.write(_STDERR, line)


@contextmanager
def _in_place_of_stderr(start: int) -> Generator[None]:
    try:
        usual = os.dup(_STDERR)
    except OSError:
        usual = None  # it is closed
    os.set_blocking(start, False)
    os.dup2(start, _STDERR)
    os.close(start)
    try:
        yield
    finally:
        if usual is None:
            os.close(_STDERR)
        else:
            os.dup2(usual, _STDERR)
            os.close(usual)


def _drained(end: int) -> bytes:
    """All that was written into the pipe, which is closed; a process started meanwhile may still hold it."""
    os.set_blocking(end, False)
    with open(end, "rb", buffering=0) as pipe:
        return pipe.read() or b""
