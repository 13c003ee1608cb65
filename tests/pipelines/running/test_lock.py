import subprocess
import sys
import threading

from pipelines.running.lock import turn


def test_the_second_run_is_told_to_wait_and_starts_when_the_first_has_ended(tmp_path):
    told, order = threading.Event(), []

    def second() -> None:
        with turn(tmp_path, lambda _: told.set()):
            order.append("second")

    waiting = threading.Thread(target=second)
    with turn(tmp_path, order.append):
        waiting.start()
        assert told.wait(30)
        order.append("first")
    waiting.join(30)
    assert order == ["first", "second"]


def test_a_run_that_was_killed_has_lost_its_turn(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from pipelines.running.lock import turn
with turn(Path({str(tmp_path)!r}), print):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    told: list[str] = []
    with turn(tmp_path, told.append):
        assert told == []
