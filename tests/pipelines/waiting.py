"""Wait for something that another process does."""

import contextlib
import time
from collections.abc import Callable

import psutil


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    return condition()


def sleepers(seconds: str, among: psutil.Process | None = None) -> list[psutil.Process]:
    """Running `sleep SECONDS` commands, of all processes or below one."""
    found = among.children(recursive=True) if among else psutil.process_iter()
    return [process for process in found if _arguments(process) == [seconds]]


def _arguments(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return process.cmdline()[1:]
    return []
