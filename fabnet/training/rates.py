"""How the learning rate falls while a network trains; `schedule` names the rule, `lr_floor` is below all of them."""

import math
from functools import partial
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

Rule = Literal["plateau", "original", "cosine"]
LOOK_EPOCHS = 16  # epochs without a better validation loss between two looks of the original's rule


class RarePlateau(ReduceLROnPlateau):
    """The rule of the authors' code: a plateau schedule that sees few validation losses.

    It sees the one of an epoch only when LOOK_EPOCHS epochs have passed since the lowest loss so far, and as many
    since it last saw one. Its patience counts losses that it sees: with PyTorch's 10, the rate falls for the first
    time 192 epochs after the lowest loss.
    """

    def __init__(self, optimiser: Optimizer, *, factor: float, patience: int, min_lr: float) -> None:
        super().__init__(optimiser, factor=factor, patience=patience, min_lr=min_lr)
        self.lowest = float("inf")  # validation loss so far; attributes are saved with the schedule's state
        self.waited = 0  # epochs since then, or since the last look

    def step(self, metrics: float, epoch: int | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Count an epoch with this validation loss, and look at the loss if it is time to."""
        del epoch  # PyTorch has deprecated it
        if metrics < self.lowest:
            self.lowest, self.waited = metrics, 0
            return
        self.waited += 1
        if self.waited == LOOK_EPOCHS:
            self.waited = 0
            super().step(metrics)


def schedule(
    optimiser: Optimizer, rule: Rule, *, epochs: int, factor: float, patience: int, floor: float, hold: float
) -> ReduceLROnPlateau | LambdaLR:
    """The schedule of one training.

    Args:
        optimiser: what it acts on.
        rule: `plateau`: the rate is multiplied by `factor` after more than `patience` epochs without a better
            validation loss (supplement: divided by 10 on a plateau). `original`: the same, but of few epochs, see
            `RarePlateau`. `cosine`: after `hold` of all epochs, along half a cosine over the others.
        epochs: of the training.
        factor: of a plateau.
        patience: of a plateau.
        floor: the rate falls no lower.
        hold: of a cosine, a share of the epochs.
    """
    if rule == "cosine":
        lowest = floor / optimiser.param_groups[0]["lr"]
        return LambdaLR(optimiser, partial(_cosine, epochs=epochs, held=hold * epochs, lowest=lowest))
    kind = RarePlateau if rule == "original" else ReduceLROnPlateau
    return kind(optimiser, factor=factor, patience=patience, min_lr=floor)


def _cosine(epoch: int, *, epochs: int, held: float, lowest: float) -> float:
    """Share of the first rate after `epoch` epochs."""
    fallen = max(0.0, epoch - held) / (epochs - held)  # 0 at its start, 1 at its end
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * fallen)) / 2
