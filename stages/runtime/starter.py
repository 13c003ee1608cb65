"""A process that ends when the one that started it has ended, even by SIGKILL: none goes on alone."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_WAIT_S = 0.5  # between two looks at the starters


def end_with_parent() -> None:
    """From now on the system kills this process when its parent has ended; where it cannot, a thread ends it."""
    if not kill_with_parent():
        _watch_from_now([os.getppid()])


def end_with_dvc() -> bool:
    """The same for DVC, which starts a stage through a shell: not every shell leaves its place to the command.

    Returns:
        Whether DVC is there. If it has ended already, another process took its place, of another group.
    """
    parent = os.getppid()
    chain = [parent, _parent_of(parent)] if _is_shell(parent) else [parent]
    if not kill_with_parent() or len(chain) > 1:
        _watch_from_now(chain)
    try:
        return os.getpgid(chain[-1]) == os.getpgrp()
    except (ProcessLookupError, PermissionError):
        return chain == _chain_of(chain)


def kill_with_parent() -> bool:
    """Whether the system kills this process from now on when its parent has ended; only Linux does."""
    if sys.platform != "linux":
        return False
    return ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0


def _watch_from_now(chain: list[int]) -> None:
    """End this process as soon as its parent, or the parent's parent and so on, is another one than in `chain`."""

    def watch() -> None:
        while _chain_of(chain) == chain:
            time.sleep(_WAIT_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _chain_of(chain: list[int]) -> list[int]:
    """The parents of this process now, as many as in `chain`."""
    return [os.getppid(), *map(_parent_of, chain[:-1])]


def _parent_of(number: int) -> int:
    """Process number of the parent; 0 if there is no such process."""
    if sys.platform == "linux":
        try:
            status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return 0
        return int(status.rpartition(")")[2].split()[1])
    return int(_ps(number, "ppid") or 0)


def _is_shell(number: int) -> bool:
    """Whether the process was given the command of this one, as a shell is."""
    name = getattr(sys.modules["__main__"].__spec__, "name", "")
    if sys.platform == "linux":
        try:
            command = Path(f"/proc/{number}/cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
    else:
        command = _ps(number, "command")
    return bool(name) and name in command


def _ps(number: int, column: str) -> str:
    done = subprocess.run(["ps", "-o", f"{column}=", "-p", str(number)], capture_output=True, text=True, check=False)
    return done.stdout.strip()
