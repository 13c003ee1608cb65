"""The health of an encoder while it trains: rows of HISTORY, lines of the log, and a warning when it has collapsed.

The lines are read by `pipelines/flows/stage_health.py`, which shows them in Prefect's UI.
"""

import logging
from collections.abc import Iterable
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


@dataclass(frozen=True)
class Watch:
    """Measures one training on the frames that it is watched on."""

    label: str  # of the training, in the log
    chosen: Watched
    frames: Iterable[Tensor]  # the same batches (B, 3, S, S) in [0, 1] of them at every call

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
        log.info("health of %s after %d steps: %s", self.label, step, _listed(found))
        problem = health.problem(found)
        if problem and step:
            log.warning("warning: %s has collapsed after %d steps: %s", self.label, step, problem)
        at = {"epoch": epoch, "step": step, "split": "val"}
        return [{**at, "metric": name, "value": value} for name, value in found.items()]


def embedded(net: Method, batches: Iterable[Tensor]) -> Tensor:
    """Embeddings (N, D) of all batches on the CPU, in full precision as the stage `embed` makes them."""
    net.eval()
    with torch.inference_mode(), devices.without_tf32():
        return torch.cat([net.encoder(frames).flatten(1).float().cpu() for frames in batches])


def _listed(found: dict[str, float]) -> str:
    """`effective rank 11.2, dead share 0.0312`."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.items())
