"""Lines are those of stages/training/watch.py itself; the table is on a real server."""

import json
import logging

import numpy as np
import pytest
import torch
from prefect import flow
from prefect.artifacts import Artifact
from torch import nn

from fabnet.modules.method import Fixed
from fabnet.training.pairs import Draw
from fabnet.training.watched import Watched
from pipelines.flows import stage_health
from pipelines.flows.stage_health import StageHealth
from stages.training.watch import Watch


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a training prints that has an embedding at first, and then has lost it."""
    codes = np.arange(20) // 2
    drawn = Draw(np.zeros((20, 1), np.int64), np.zeros((20, 1, 4), np.float32), codes // 2)
    frames = torch.rand(20, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    watch = Watch("pretrain fabnet-0", Watched(drawn, codes, codes), [frames])
    caplog.set_level(logging.INFO, "stages.training.watch")
    watch.rows(Fixed(nn.Flatten()), 0, 0)
    watch.rows(Fixed(nn.Sequential(nn.Flatten(), nn.Threshold(2.0, 7.0))), 4, 100)  # always 7
    return list(caplog.messages)


def test_the_values_of_a_checkpoint_are_read_from_its_line(lines: list[str]):
    names = [
        "steps",
        "watched frames",
        "effective rank",
        "dead share",
        "never positive share",
        "knn track",
        "knn identity",
    ]
    start, end = (stage_health.values(line) for line in lines[:2])
    assert start is not None
    assert end is not None
    assert list(start) == [*names, "still share"]
    assert list(end) == names
    assert (start["watched frames"], end["steps"], end["effective rank"], end["dead share"]) == (20, 100, 1, 1)
    assert start["effective rank"] > 5


@pytest.mark.parametrize("line", ["epoch 3: loss train 0.1, val 0.2", "", "warning: it has collapsed", "health of all"])
def test_other_lines_have_no_values(line: str):
    assert stage_health.values(line) is None


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_training_has_a_table_that_grows_and_tells_its_collapse(lines: list[str]):
    @flow
    def shown() -> None:
        health = StageHealth("pretrain@fabnet-0")
        health.add("epoch 1: loss train 0.1, val 0.2")
        assert Artifact.get("health-pretrain-fabnet-0") is None
        for line in lines:
            health.add(line)

    shown()
    found = Artifact.get("health-pretrain-fabnet-0")
    assert found is not None
    assert [row["steps"] for row in json.loads(found.data)] == [0, 100]
    assert found.description == "pretrain fabnet-0 has collapsed after 100 steps: the effective rank is 1.0, below 3"
