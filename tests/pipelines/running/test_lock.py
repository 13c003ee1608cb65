import subprocess
import sys
import threading

from pipelines.running.lock import exclusive


def test_the_second_run_waits_and_starts_when_the_first_has_ended(tmp_path):
    waits, order = threading.Event(), []

    def second() -> None:
        with exclusive(tmp_path, lambda _: waits.set()):
            order.append("second")

    waiting = threading.Thread(target=second)
    with exclusive(tmp_path, order.append):
        waiting.start()
        assert waits.wait(30)
        order.append("first")
    waiting.join(30)
    assert order == ["first", "second"]


def test_a_run_that_was_killed_releases_the_folder(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from pipelines.running.lock import exclusive
with exclusive(Path({str(tmp_path)!r}), print):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    messages: list[str] = []
    with exclusive(tmp_path, messages.append):
        assert messages == []
