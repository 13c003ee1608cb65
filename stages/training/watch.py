"""The health of a training: rows of HISTORY, lines of the log, and warnings.

It is warned of an encoder that has collapsed, of tracks that stand still and of losses that vanish or explode.

The lines are read by `pipelines/flows/stage_health.py`, which shows them in Prefect's UI.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fabnet.modules import devices
from fabnet.modules.method import Method
from fabnet.training import health
from fabnet.training.train import DivergedError
from fabnet.training.watched import Watched

log = logging.getLogger(__name__)

FIRST_LOSS = "first_loss"  # metric in HISTORY: the training loss of the first step


@dataclass
class Watch:
    """Measures one training on the frames that it is watched on."""

    label: str  # of the training, in the log
    chosen: Watched
    frames: Iterable[Tensor]  # the same batches (B, 3, S, S) in [0, 1] of them at every call
    is_told: bool = False  # whether it was warned of the losses as they are

    def rows(self, net: Method, epoch: int, step: int) -> list[dict[str, Any]]:
        """HISTORY rows of `fabnet.training.health` after `step` steps; they are logged as well.

        The network is in evaluation mode afterwards.

        Raises:
            DivergedError: an embedding is infinite or not a number.
        """
        x = embedded(net, self.frames)
        if not x.isfinite().all():
            raise DivergedError(f"an embedding of the validation split is no longer finite after step {step}")
        chosen = self.chosen
        codes = (torch.from_numpy(each) for each in (chosen.track, chosen.drawn.identities, chosen.video))
        found = health.measures(x, *codes)
        if step == 0:
            found["still_share"] = health.still_share(self.frames, torch.from_numpy(chosen.track))
        log.info("health of %s after %d steps: %s", self.label, step, _listed(found))
        if still := health.still(found):
            log.warning("warning: %s: %s", self.label, still)
        judge = health.rank_problem if net.is_solved else health.problem
        problem = judge(found) if step or net.is_solved else None
        if problem:
            log.warning("warning: %s has collapsed after %d steps: %s", self.label, step, problem)
        at = {"epoch": epoch, "step": step, "split": "val"}
        return [{**at, "metric": name, "value": value} for name, value in found.items()]

    def tell_losses(self, history: Sequence[Mapping[str, Any]], kept: str) -> None:
        """Warn once if the losses in HISTORY rows have begun to be wrong; `kept`: where the last good weights are."""
        problem = health.loss_problem(*losses(history))
        if problem and not self.is_told:
            log.warning("warning: %s: %s; %s", self.label, problem, kept)
        self.is_told = problem is not None


def losses(history: Iterable[Mapping[str, Any]]) -> tuple[float | None, list[float], list[float]]:
    """Training loss of the first step, then training and validation loss of every epoch; of HISTORY rows."""
    rows = sorted(history, key=lambda row: row["epoch"])
    first = next((row["value"] for row in rows if row["metric"] == FIRST_LOSS), None)
    train, val = (
        [row["value"] for row in rows if (row["split"], row["metric"]) == (split, "loss")] for split in ("train", "val")
    )
    return first, train, val


def embedded(net: Method, batches: Iterable[Tensor]) -> Tensor:
    """Embeddings (N, D) of all batches on the CPU, in full precision as the stage `embed` makes them."""
    net.eval()
    with torch.inference_mode(), devices.without_tf32():
        return torch.cat([net.encoder(frames).flatten(1).float().cpu() for frames in batches])


def _listed(found: dict[str, float]) -> str:
    """`effective rank 11.2, dead share 0.0312`."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.items())
