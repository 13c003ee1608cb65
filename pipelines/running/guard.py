"""Run a command, and end its whole process group as soon as the process that started it has ended, for any reason.

Standard input is a pipe whose other end the starter holds: it closes when the starter dies, even by SIGKILL.
Processes that a failed command leaves behind end with it, because they would keep its output open. The guard leads
the group. Standard library only: it starts in a few hundredths of a second.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_S = 10.0  # between asking the command to end and ending the group


def leave_like(status: int) -> None:
    """End this process as the command ended: with its exit status, or by the signal that ended it."""
    if status != 0:
        os.killpg(0, signal.SIGTERM)
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)  # a thread is still reading


def end_group(command: subprocess.Popen[bytes]) -> None:
    """Ask everything in this process group to end, then end it and this process."""
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Start the command, leave with it, or end it when standard input closes."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: None)  # meant for the command, which does not inherit this handler
    command = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    alone = threading.Event()

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        alone.set()
        end_group(command)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    status = command.wait()
    if alone.is_set():
        watcher.join()
    leave_like(status)


if __name__ == "__main__":
    main(sys.argv[1:])
