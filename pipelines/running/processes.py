"""Child processes that end together with all that they started."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

GUARD = (sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")))
GRACE_S = 10.0  # between asking a process group to end and ending it


class StoppedError(Exception):
    """No process can start, because `stop` was called."""


class Processes:
    """Runs commands, at most `parallel` at a time; `stop` ends them all. Safe to use from several threads.

    Each command has a process group of its own. A signal from the terminal does not reach it: the owner of this
    object calls `stop` when it is interrupted. If this process is killed, a guard ends the group.
    """

    def __init__(self, parallel: int) -> None:
        self._slots = threading.BoundedSemaphore(parallel)
        self._lock = threading.Lock()  # guards the two below
        self._running: set[subprocess.Popen[str]] = set()
        self._is_stopped = False

    @contextmanager
    def lines(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """A running command, to read `stdout` from, errors included; its whole group has ended when the block ends.

        Waits for a free slot first.

        Raises:
            StoppedError: `stop` was called before the command started.
        """
        with self._slots:
            process = self._started(command, cwd, env)
            try:
                yield process
            finally:
                end_group(process)
                for pipe in (process.stdin, process.stdout):
                    if pipe:
                        pipe.close()
                with self._lock:
                    self._running.discard(process)

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called: every command that ends later was ended by it."""
        return self._is_stopped

    def stop(self) -> None:
        """End every running command, and start none from now on."""
        with self._lock:
            self._is_stopped = True
            running = list(self._running)
        for process in running:
            end_group(process)

    def _started(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._is_stopped:
                raise StoppedError("not started, the run was stopped")
            process = subprocess.Popen(
                [*GUARD, *command], cwd=cwd, env=env, process_group=0, text=True, errors="replace",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            self._running.add(process)
            return process


def end_group(process: subprocess.Popen[str]) -> None:
    """End a group leader and all that it started; a leader that exited with status 0 has nothing left to end.

    They are asked as by Ctrl-C first: then a stage keeps its finished parts and DVC gives back its locks.
    """
    if process.poll() == 0:
        return
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        try:
            os.killpg(process.pid, signum)
            while time.monotonic() < deadline:
                process.poll()  # a leader that was not waited for still counts as alive
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        except (ProcessLookupError, PermissionError):  # macOS denies permission where Linux finds no process
            return
