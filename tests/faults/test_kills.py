"""When a stage is killed or cannot write, nothing partial is under its name, and the next run makes the same bytes."""

import os
import resource
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import kills
import numpy as np
import pytest
from kills import Kill, Whole
from small_stages import SMALL
from tally import Tally

SEED = 2018
QUICK = {"check", "fetch", "split"}  # the others take seconds
MOST = int(os.environ.get("KILLS", "1000"))  # first kills of a stage in the long test, each followed by others
MOMENTS = 12  # of a stage in the long test at which it is first killed
MOST_BYTES = {"check": 20, "fetch": 200, "split": 200, "embed": 200}  # of a file; others write more
TOO_LARGE = "error: a file would be larger than this disk or `ulimit -f` allows; use another disk or raise the limit\n"
WITHOUT_OLDER = {"fetch", "check"}  # their outputs are kept by DVC


def check(name: str, whole: Whole, work: Path, tally: Tally, *, has_older: bool, several: Sequence[Kill]) -> None:
    """Kill the stage, then its next run and so on, and look at its outputs each time; at last let it end."""
    kills.fresh(work)
    before = kills.older(name, work, whole.outs) if has_older and name not in WITHOUT_OLDER else {}
    tally.stages.add(name)
    done = []
    for kill in several:
        ended = kills.run(name, whole.inputs, work, kill=kill)
        if ended.status == 0:
            break
        done.append(kill)
        tally.kills += 1
        if ended.status != -9:
            tally.find("other findings", f"{name}, killed at {done[:-1]}, does not go on: {ended.errors[-300:]}")
        if ended.orphans:
            tally.find("orphans", f"{name}, killed at {done}: {ended.orphans}")
        for out, content in kills.outs(name, work).items():
            if content not in (before.get(out), whole.outs[out]):
                tally.find("partial files", f"{name}, killed at {done}: {out}")
    else:
        ended = kills.run(name, whole.inputs, work)
        if ended.status != 0:
            tally.find("other findings", f"{name}, killed at {done}, does not go on: {ended.errors[-300:]}")
    if kills.outs(name, work) != whole.outs:
        tally.find("differences", f"{name}, killed at {done}")
    if others := kills.names(work) ^ whole.names:
        tally.find("left-overs", f"{name}, killed at {done}, there or missing: {sorted(others)[:5]}")


def more(whole: Whole, rng: np.random.Generator) -> list[Kill]:
    """Kills of the runs that follow on the first kill."""
    return [Kill(at=int(rng.integers(1, whole.operations + 1))), Kill(after_s=float(rng.uniform(0, whole.seconds)))]


def seeded(name: str) -> np.random.Generator:
    return np.random.default_rng([SEED, *name.encode()])


EVERY = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SMALL]
)


@EVERY
def test_a_stage_that_is_killed_twice_makes_the_same_bytes(name, whole, tally, tmp_path):
    of, rng = whole(name), seeded(name)
    several = [Kill(at=int(at)) for at in rng.integers(1, of.operations + 1, 2)]
    check(name, of, tmp_path / "work", tally, has_older=True, several=several)


@EVERY
def test_a_stage_that_cannot_write_says_one_sentence_and_the_next_run_goes_on(name, whole, tmp_path):
    of, work, most = whole(name), kills.fresh(tmp_path / "work"), MOST_BYTES.get(name, 3000)
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
    ended = kills.run(name, of.inputs, work, before=limit)
    assert ended.status == 1
    assert ended.errors.endswith(TOO_LARGE)
    assert "Traceback" not in ended.errors
    assert kills.outs(name, work) == {}
    assert kills.run(name, of.inputs, work).status == 0
    assert kills.outs(name, work) == of.outs


@pytest.mark.torture
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SMALL)
def test_a_stage_that_is_killed_at_any_file_operation_makes_the_same_bytes(name, whole, tally, tmp_path):
    of, rng = whole(name), seeded(name)
    for number, at in enumerate(np.unique(np.linspace(1, of.operations, MOST, dtype=int))):
        several = [Kill(at=int(at)), *more(of, rng)]
        check(name, of, tmp_path / "work", tally, has_older=bool(number % 2), several=several)


@pytest.mark.torture
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SMALL)
def test_a_stage_that_is_killed_at_any_moment_makes_the_same_bytes(name, whole, tally, tmp_path):
    of, rng = whole(name), seeded(name)
    for number, after_s in enumerate(rng.uniform(0, of.seconds, min(MOMENTS, MOST))):
        several = [Kill(after_s=float(after_s)), *more(of, rng)]
        check(name, of, tmp_path / "work", tally, has_older=bool(number % 2), several=several)
