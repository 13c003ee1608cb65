import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.runtime import workers
from stages.runtime.errors import UserError


def slow_first(number: int) -> tuple[int, int]:
    if number == 0:
        time.sleep(0.3)
    return number, os.getpid()


def die(number: int) -> int:
    if number == 1:
        os._exit(9)
    return number


def test_results_keep_the_order_of_the_input_over_processes():
    results = list(workers.in_order(slow_first, range(12), 2))
    assert [number for number, _ in results] == list(range(12))
    assert os.getpid() not in {process for _, process in results}


def test_a_single_input_needs_no_other_process():
    assert list(workers.in_order(slow_first, [5], 2)) == [(5, os.getpid())]
    assert list(workers.in_order(slow_first, [], 2)) == []


def test_inputs_are_taken_as_they_are_needed():
    taken = []
    results = workers.in_order(slow_first, (taken.append(n) or n for n in range(100)), 2)
    next(results)
    results.close()
    assert len(taken) <= 8


def test_a_process_that_dies_is_a_user_error():
    with pytest.raises(UserError, match="worker processes died"):
        list(workers.in_order(die, range(4), 2))


WITHOUT_PANDAS = """
import sys, pyarrow
from stages.runtime import workers
workers.keep_out_pandas()
print(pyarrow.array([1]).to_pylist(), "pandas" in sys.modules)
import pandas
"""


def test_tables_are_made_without_pandas_which_others_can_still_import():
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, check=True)
    assert done.stdout == "[1] False\n"


WITHOUT_SHARED_MEMORY = """
import logging, sys
from stages.runtime import workers
if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    print(list(workers.in_order(abs, [1, -2, 3], 2)))
    print(workers.alone())
"""
CAN_MOUNT = (
    shutil.which("unshare") is not None
    and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
)


@pytest.mark.skipif(not CAN_MOUNT, reason="needs the right to mount")
def test_without_shared_memory_the_work_is_done_in_one_process(tmp_path):
    (tmp_path / "tried.py").write_text(WITHOUT_SHARED_MEMORY)
    script = f"mount -t tmpfs -o ro none /dev/shm && exec {sys.executable} {tmp_path / 'tried.py'}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    warned, results, alone = done.stdout.splitlines()
    assert warned.startswith("working in one process instead of 2: /dev/shm cannot be written")
    assert results == "[1, 2, 3]"
    assert alone.endswith("(Read-only file system): mount it, in Docker with `--shm-size 64m`")


def test_shared_memory_that_refuses_locks_leaves_one_process(monkeypatch, caplog):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("concurrent.futures.process.ProcessPoolExecutor.__init__", refuse)
    with caplog.at_level(logging.WARNING):
        assert list(workers.in_order(slow_first, [1, 2], 2)) == [(1, os.getpid()), (2, os.getpid())]
    assert "No space left on device" in caplog.text
