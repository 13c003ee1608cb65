"""A stage ends with the process that started it, as DVC starts it: through a shell, with its name in DVC_STAGE."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
STAGE = '''
"""Start a worker, say that it is there, and wait."""
import multiprocessing
import time
from pathlib import Path

from stages.runtime import command, workers


def wait(number: int) -> int:
    Path(f"{number}.started").touch()
    time.sleep(600)
    return number


def run(*, seed: int) -> None:
    list(workers.in_order(wait, [0, 1], 2))


if __name__ == "__main__":
    command.main(run, __doc__)
'''
STARTER = """
import subprocess, sys
subprocess.run(["/bin/sh", "-c", f"{sys.executable} -m waiting_stage"])
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "waiting_stage.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def started(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The process that has started the stage and its workers."""
    path = os.pathsep.join([str(ROOT), str(folder)])
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment}
    )
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.started"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def all_end(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=20)[1]


def test_a_stage_and_its_workers_end_when_dvc_is_killed(folder):
    dvc = started(folder, DVC_STAGE="waiting")
    children = psutil.Process(dvc.pid).children(recursive=True)
    assert len(children) >= 3
    dvc.kill()
    dvc.wait()
    assert all_end(children)


def test_a_stage_that_a_person_started_goes_on(folder):
    shell = started(folder)
    children = psutil.Process(shell.pid).children(recursive=True)
    shell.kill()
    shell.wait()
    time.sleep(2)
    try:
        assert all(child.is_running() for child in children if child.status() != psutil.STATUS_ZOMBIE)
    finally:
        for child in children:
            child.kill()


def test_a_stage_whose_dvc_ended_before_it_was_ready_ends_at_once(folder):
    alone = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "DVC_STAGE": "waiting"}
    done = subprocess.run(
        [sys.executable, "-m", "waiting_stage"],
        cwd=folder, env=alone, capture_output=True, text=True, timeout=120, check=False, process_group=0,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "error: DVC, which started this stage, has ended: run it again\n")
