"""Run a command and end its whole process group as soon as whoever started it is gone, however that came about.

Standard input is a pipe of which the starter holds the other end: it closes when the starter dies, even by SIGKILL.
The guard leads the group. Standard library only: it starts in a few hundredths of a second.
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
    if status < 0:
        os.kill(os.getpid(), -status)
    os._exit(status)  # the main thread is still reading


def end_group(command: subprocess.Popen[bytes]) -> None:
    """Ask everything in this process group to end, then end it and this process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Start the command, leave with it, or end it when standard input closes."""
    command = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    alone = threading.Event()

    def follow() -> None:
        status = command.wait()
        if not alone.is_set():
            leave_like(status)

    threading.Thread(target=follow, daemon=True).start()
    os.read(sys.stdin.fileno(), 1)
    alone.set()
    end_group(command)


if __name__ == "__main__":
    main(sys.argv[1:])
