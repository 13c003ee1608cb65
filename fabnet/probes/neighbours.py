"""Retrieval of classes: the share of each class among the nearest images of the training part.

Nothing is fitted and nothing is chosen, so the validation part has no say; see `fabnet.retrieval`.
"""

import numpy as np
from numpy.typing import NDArray

from fabnet.probe_head import Crops, Probe, Samples, Settings
from fabnet.retrieval import Neighbours


def problem(label: int | None, classes: int) -> str | None:
    """Why a label cannot be used; None if it can. Labels are codes from 0."""
    if label is None:
        return "no label"
    return None if 0 <= label < classes else f"unknown class: {label}"


def encode(labels: NDArray[np.int64], crops: Crops, classes: int) -> NDArray[np.float64]:
    """Codes (N,) -> one-hot targets (N, K)."""
    del crops
    return np.eye(classes)[labels]


def decode(y: NDArray[np.float64], crops: Crops) -> NDArray[np.float64]:
    """Shares as they are."""
    del crops
    return y


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives the share of each class among the nearest of `train`; y (N, K) is one-hot."""
    del val
    return Neighbours(train.x, train.y, params.neighbours)
