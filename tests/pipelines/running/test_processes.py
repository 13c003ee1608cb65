import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from waiting import SLEEP, sleepers, until

from pipelines.running import processes
from pipelines.running.processes import Processes, StoppedError

FAMILY = f"sleep {SLEEP} & echo ready; sleep {SLEEP}"  # a shell, a child in its foreground and one in its background


def test_lines_come_from_output_and_errors(tmp_path):
    with Processes(1).lines(["sh", "-c", "echo one; echo two >&2"], tmp_path, os.environ) as process:
        assert sorted(line.strip() for line in process.stdout) == ["one", "two"]
        assert process.wait() == 0


def test_leaving_early_ends_children_and_grandchildren(tmp_path):
    with Processes(1).lines(["sh", "-c", FAMILY], tmp_path, os.environ) as process:
        assert process.stdout.readline() == "ready\n"
        assert until(lambda: len(sleepers()) == 2, 10)
    assert sleepers() == []


def test_what_a_failed_leader_left_behind_is_ended(tmp_path):
    with Processes(1).lines(["sh", "-c", f"sleep {SLEEP} & echo ready; exit 3"], tmp_path, os.environ) as process:
        assert process.stdout.readline() == "ready\n"
        assert process.wait() == 3
    assert sleepers() == []


def test_a_process_that_ignores_the_request_is_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 0.3)
    with Processes(1).lines(["sh", "-c", f"trap '' TERM; echo ready; sleep {SLEEP}"], tmp_path, os.environ) as process:
        assert process.stdout.readline() == "ready\n"
    assert sleepers() == []


def test_a_command_reads_nothing_and_its_exit_status_is_kept(tmp_path):
    with Processes(1).lines(["sh", "-c", "cat; exit 7"], tmp_path, os.environ) as process:
        assert process.wait() == 7


def test_a_command_ended_by_a_signal_shows_that_signal(tmp_path):
    with Processes(1).lines(["sh", "-c", "kill -9 $$"], tmp_path, os.environ) as process:
        assert process.wait() == -9


@pytest.mark.parametrize(("end", "status"), [("exit 3", 3), ("kill -9 $$", -9), ("kill $$", -15)])
def test_what_a_failed_command_left_behind_ends_with_it(tmp_path, end, status):
    with Processes(1).lines(["sh", "-c", f"sleep {SLEEP} & {end}"], tmp_path, os.environ) as process:
        assert list(process.stdout) == []  # the sleeper holds it open
        assert process.wait() == status
    assert sleepers() == []


def test_what_runs_ends_when_its_owner_is_killed(tmp_path):
    program = f"""
from pathlib import Path
from pipelines.running.processes import Processes
with Processes(1).lines(["sh", "-c", {FAMILY!r}], Path(), {{}}) as process:
    print(process.stdout.readline(), flush=True)
    process.wait()
"""
    owner = psutil.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "ready\n"
    assert until(lambda: len(sleepers()) == 2, 10)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert until(lambda: sleepers() == [], 10)


def test_stop_ends_what_runs_and_starts_nothing_more(tmp_path):
    group = Processes(2)
    ready = threading.Event()

    def run() -> int:
        with group.lines(["sh", "-c", FAMILY], tmp_path, os.environ) as process:
            for _ in process.stdout:
                ready.set()
            return process.wait()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        assert ready.wait(10)
        group.stop()
        assert future.result(timeout=10) != 0
    assert sleepers() == []
    with pytest.raises(StoppedError), group.lines(["true"], tmp_path, os.environ):
        pass


def test_no_more_than_the_allowed_number_run_at_a_time(tmp_path):
    program = "import time; print(time.monotonic()); time.sleep(0.2); print(time.monotonic())"
    group = Processes(2)

    def span(_: int) -> tuple[float, float]:
        with group.lines([sys.executable, "-c", program], tmp_path, os.environ) as process:
            start, end = map(float, process.stdout)
            return start, end

    with ThreadPoolExecutor(5) as pool:
        spans = list(pool.map(span, range(5)))
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) <= 2
