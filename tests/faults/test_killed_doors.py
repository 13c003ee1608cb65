"""A run of the whole graph that is killed again and again, at both front doors: no orphan, and the same bytes."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import whole_graph
from tally import Tally

from pipelines.dvc import cut_short

SEED = 2018
MOST = int(os.environ.get("KILLS", "60"))  # before the run is left to end
WAIT_S = 3600  # for the next stage to start, or the run to end
GRACE_S = 600  # in which everything ends with the door: a stage that is still importing ends when it is ready


def alone(door: psutil.Process, _: list[psutil.Process]) -> None:
    door.kill()


def whole_group(door: psutil.Process, _: list[psutil.Process]) -> None:
    os.killpg(door.pid, signal.SIGKILL)


def one_of_a_stage(_: psutil.Process, of_stages: list[psutil.Process]) -> None:
    """The stage, or a worker that it has started, which is the last one."""
    if of_stages:
        of_stages[-1].kill()


WAYS: tuple[Callable[[psutil.Process, list[psutil.Process]], None], ...] = (alone, whole_group, one_of_a_stage)


def kill(folder: Path, door: str, said: Path, *, way: int, after_s: float) -> int:
    """Exit status of a run that was killed `after_s` seconds after its first stage has started."""
    process = whole_graph.start(folder, door, said)
    try:
        running = lambda: any(map(whole_graph.is_stage, whole_graph.stages(folder)))  # noqa: E731
        assert whole_graph.until(lambda: running() or process.poll() is not None, WAIT_S)
        whole_graph.until(lambda: process.poll() is not None, after_s)
        if process.poll() is None:
            WAYS[way](process, whole_graph.stages(folder))
        return process.wait(WAIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def look(folder: Path, whole: dict[str, dict[str, bytes]], tally: Tally, what: str) -> None:
    """What the killed run has left."""
    if not whole_graph.until(lambda: not whole_graph.workers(folder), GRACE_S):
        orphans = whole_graph.workers(folder)
        tally.find("orphans", f"{what}: {[orphan.cmdline() for orphan in orphans]}")
        for orphan in orphans:
            orphan.kill()
    for path in cut_short.found(folder):
        path.unlink()  # as doctor and both front doors say
    for out, content in whole_graph.outs(folder, whole).items():
        if content != whole[out]:
            tally.find("partial files", f"{what}: {out}")


@pytest.mark.torture
@pytest.mark.timeout(0)
def test_a_run_that_is_killed_at_a_front_door_goes_on_to_the_same_bytes(tally, tmp_path):
    first, folder, said = tmp_path / "first", whole_graph.make(tmp_path / "killed"), tmp_path / "said"
    seconds = whole_graph.whole_run(whole_graph.make(first), said)
    whole, stages = whole_graph.outs(first), whole_graph.locked(first)
    rng = np.random.default_rng(SEED)
    tally.stages |= {name.split("@")[0] for name in stages}
    for number in range(MOST):
        door, way = list(whole_graph.DOORS)[number % 5 == 4], int(rng.integers(len(WAYS)))
        after_s = float(rng.uniform(0, 1.5 * seconds / len(stages)))
        what = f"{door}, kill {number} ({WAYS[way].__name__}) after {after_s:.1f} s"
        status = kill(folder, door, said, way=way, after_s=after_s)
        tally.kills += status != 0
        tally.doors.add(door)
        text = said.read_text(encoding="utf-8")
        if "Traceback" in text:
            tally.find("other findings", f"{what}: {text[-500:]}")
        look(folder, whole, tally, what)
        if status == 0:
            break
    whole_graph.whole_run(folder, said)
    assert whole_graph.locked(folder) == whole_graph.locked(first)
    made, again = whole_graph.made(first), whole_graph.made(folder)
    for name in sorted(made.keys() | again.keys()):
        if made.get(name) != again.get(name):
            tally.find("left-overs" if name not in made else "differences", name)
