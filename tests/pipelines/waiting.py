"""Wait for other processes."""

import contextlib
import os
import time
from collections.abc import Callable

import psutil

SLEEP = str(300_000 + os.getpid())  # seconds that only children of this test session sleep for


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` became true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    return condition()


def sleepers() -> list[psutil.Process]:
    """Running `sleep` commands of this test session."""
    return [process for process in psutil.process_iter() if _arguments(process) == [SLEEP]]


def _arguments(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return process.cmdline()[1:]
    return []
