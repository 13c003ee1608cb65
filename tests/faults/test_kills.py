"""Whenever a stage is killed, nothing partial is under its name, and the next run makes the same bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kills
import numpy as np
import pytest
from small_stages import SMALL

SEED = 2018
SHORT = 2  # kills of each stage in the short test
QUICK = {"fetch", "split"}  # the others take seconds
MOMENTS = 40  # of each stage in the long one
WITHOUT_OLDER = {"fetch"}  # its outputs are kept by DVC, and are told to be gone before anything else


@dataclass(frozen=True)
class Whole:
    """What a stage makes that is not killed."""

    inputs: Path
    outs: dict[str, dict[str, bytes]]
    names: set[str]  # of all that lies there at the end
    operations: int


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    found: dict[str, Whole] = {}

    def of(name: str) -> Whole:
        if name not in found:
            root = tmp_path_factory.mktemp(name)
            inputs, work = kills.fresh(root / "inputs"), kills.fresh(root / "work")
            SMALL[name].prepare(inputs)
            ended = kills.run(name, inputs, work)
            assert ended.status == 0
            found[name] = Whole(inputs, kills.outs(name, work), kills.names(work), ended.operations)
            assert set(found[name].outs) == set(SMALL[name].outs)
        return found[name]

    return of


def check(name: str, whole: Whole, work: Path, *, has_older: bool, at: int = 0, after_s: float = 0.0) -> None:
    """Kill the stage once and look at its outputs, run it again and look again."""
    kills.fresh(work)
    before = kills.older(name, work, whole.outs) if has_older and name not in WITHOUT_OLDER else {}
    ended = kills.run(name, whole.inputs, work, at=at, after_s=after_s)
    assert ended.status in ((-9,) if at else (-9, 0)), f"{name} at {at}"
    for out, content in kills.outs(name, work).items():
        assert content in (before.get(out), whole.outs[out]), f"{name}, killed at {at or after_s}: {out} is partial"
    assert kills.run(name, whole.inputs, work).status == 0, f"{name}, killed at {at or after_s}, does not go on"
    assert kills.outs(name, work) == whole.outs, f"{name}, killed at {at or after_s}: other bytes"
    assert kills.names(work) == whole.names, f"{name}, killed at {at or after_s}: something is left, or missing"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SMALL]
)
def test_a_stage_that_is_killed_at_a_file_operation_makes_the_same_bytes(name, whole, tmp_path):
    of = whole(name)
    rng = np.random.default_rng([SEED, *name.encode()])
    for number, at in enumerate(rng.choice(of.operations, SHORT, replace=False) + 1):
        check(name, of, tmp_path / "work", has_older=bool(number % 2), at=int(at))


@pytest.mark.torture
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SMALL)
def test_a_stage_that_is_killed_at_any_file_operation_makes_the_same_bytes(name, whole, tmp_path):
    of = whole(name)
    for at in range(1, of.operations + 1):
        check(name, of, tmp_path / "work", has_older=bool(at % 2), at=at)


@pytest.mark.torture
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SMALL)
def test_a_stage_that_is_killed_at_any_moment_makes_the_same_bytes(name, whole, tmp_path):
    of = whole(name)
    rng = np.random.default_rng([SEED, *name.encode()])
    for number, after_s in enumerate(np.exp(rng.uniform(np.log(1e-3), np.log(3), MOMENTS))):
        check(name, of, tmp_path / "work", has_older=bool(number % 2), after_s=float(after_s))
