"""Linear probe for action units: one sigmoid per unit, unknown units masked.

Loss: binary cross-entropy per unit, the mean over the images where the unit is known, so that a unit that is
rarely labelled counts as much as the others. The decision threshold of each unit is the one with the highest F1 on
the validation split; it is moved into the head, so that a score above 0.5 means present. The paper states neither
its metric nor a threshold.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fabnet import metrics, probe_head
from fabnet.probe_head import Crops, Probe, Problem, Samples, Settings

Array = NDArray[np.float64]

UNKNOWN = -1.0  # in targets
link = Tensor.sigmoid  # one score in (0, 1) per unit


def problems(labels: Array, classes: int) -> list[Problem]:
    """What is wrong with labels (N, L), `classes` units: 0 absent, 1 present, NaN unknown."""
    rows, units = labels.shape
    is_unknown = np.isnan(labels)
    return [
        (f"expected {classes} action units", f"found {units}", np.full(rows, units != classes)),
        ("an action unit is neither 0 nor 1 nor unknown", "", ~(is_unknown | np.isin(labels, (0, 1))).all(1)),
        ("no action unit is known", "", is_unknown.all(1)),
    ]


def encode(labels: Array, crops: Crops, classes: int) -> Array:
    """Units (N, K), NaN where unknown -> targets (N, K): 0, 1 or UNKNOWN."""
    del crops, classes
    return np.where(np.isnan(labels), UNKNOWN, labels)


def decode(y: Array, crops: Crops) -> Array:
    """Targets or scores (N, K) as they are, unknown ones as NaN."""
    del crops
    return np.where(y == UNKNOWN, np.nan, y)


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives one score in (0, 1) per unit, above 0.5 where the unit is taken to be present."""
    return probe_head.fit(train, val, params, loss=known_cross_entropy, link=link, shift=_to_thresholds)


def known_cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """Loss (N, K) whose mean is, for every unit, that over the images where it is known."""
    known = (y != UNKNOWN).double()
    share = known.mean(0).clamp_min(1 / len(y))
    return F.binary_cross_entropy_with_logits(outputs, y.clamp_min(0), reduction="none") * known / share


def _to_thresholds(outputs: Tensor, y: Tensor) -> Tensor:
    """(K) that moves the best threshold of every unit to 0; a unit without a positive keeps its own."""
    shifts = torch.zeros(y.shape[1], dtype=outputs.dtype)
    for unit, (scores, truth) in enumerate(zip(outputs.T.cpu().numpy(), y.T.cpu().numpy(), strict=True)):
        known = truth != UNKNOWN
        threshold = metrics.best_threshold(truth[known] > 0.5, scores[known])
        shifts[unit] = -threshold if np.isfinite(threshold) else 0.0
    return shifts.to(outputs.device)
