import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fabnet.pretext.fabnet_curriculum import Curriculum
from fabnet.training import rates

EPOCHS = 4000


def optimiser() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)


def falling(rule: Any, losses: list[float], *, with_curriculum: bool = False, floor: float = 0.0) -> list[float]:
    """The learning rate after every epoch."""
    sgd, curriculum = optimiser(), Curriculum(patience=15)
    sgd.step()
    schedule = rates.schedule(sgd, rule, epochs=len(losses), factor=0.1, patience=10, floor=floor, hold=0.0)
    assert isinstance(schedule, ReduceLROnPlateau)
    found: list[float] = []
    for loss in losses:
        if not (with_curriculum and curriculum.observe(loss)):
            schedule.step(loss)
        found.append(sgd.param_groups[0]["lr"])
    return found


def falling_slowly(losses: list[float], *, with_curriculum: bool) -> list[float]:
    """The authors' rule, told again: a tracker of losses, a window that moves first, then a plateau schedule."""
    rate, top = 1e-3, 0.5 if with_curriculum else 0.9
    lowest, lowest_at, looked_at = 1000.0, -1, -1  # of the tracker
    best, worse = float("inf"), 0  # of the plateau schedule
    found: list[float] = []
    for epoch, loss in enumerate(losses):
        if loss < lowest:
            lowest, lowest_at, looked_at = loss, epoch, epoch
        if epoch - lowest_at > 15 and epoch - looked_at > 15:
            looked_at = epoch
            if top < 0.85:
                top += 0.1
                lowest, lowest_at, looked_at = 1000.0, -1, -1
            elif loss < best * (1 - 1e-4):
                best, worse = loss, 0
            else:
                worse += 1
                if worse > 10:
                    rate, worse = rate * 0.1 if rate > 1.2e-8 else rate, 0  # PyTorch makes no step below 1e-8
        found.append(rate)
    return found


def noisy(seed: int) -> list[float]:
    """A loss that falls ever more slowly, with noise in float32, as the curriculum stores it."""
    epochs = np.arange(EPOCHS)
    noise = np.random.default_rng(seed).normal(0, 4e-4, EPOCHS)
    return (0.05 + 0.05 / (1 + epochs / 100) + noise).astype(np.float32).tolist()


@pytest.mark.parametrize("with_curriculum", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_originals_rule_falls_when_the_code_falls(seed: int, with_curriculum: bool):
    losses = noisy(seed)
    expected = falling_slowly(losses, with_curriculum=with_curriculum)
    assert expected[-1] < 1e-3
    assert falling("original", losses, with_curriculum=with_curriculum) == pytest.approx(expected)


def falls(found: list[float]) -> list[int]:
    """Epochs, from 1, after which the rate was lower than before."""
    return [number for number, (before, after) in enumerate(itertools.pairwise(found), 2) if after < before]


def test_the_originals_rule_first_falls_192_epochs_after_the_lowest_loss():
    assert falls(falling("original", [1.0] * 400)) == [193, 369]
    assert falls(falling("plateau", [1.0] * 30)) == [12, 23]


def test_the_originals_rule_waits_for_the_curriculum():
    # four times 17 epochs without progress move the window; then it waits as without a curriculum
    assert falls(falling("original", [1.0] * 300, with_curriculum=True)) == [4 * 17 + 193]


def test_the_originals_rule_does_not_fall_below_the_floor():
    assert falling("original", [1.0] * 1000, floor=1e-4)[-1] == pytest.approx(1e-4)
