"""Linear probe for classes: one sigmoid per class, each class against the rest.

Loss: binary cross-entropy per class. The authors' demo applies a sigmoid to each of the 8 expressions, which
implies it; that the published heads were trained so is not stated.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fabnet import probe_head
from fabnet.probe_head import Crops, Probe, Problem, Samples, Settings

link = Tensor.sigmoid  # one score in (0, 1) per class


def problems(labels: NDArray[np.int64], classes: int) -> list[Problem]:
    """What is wrong with labels (N,), codes from 0."""
    return [
        ("unknown class", str(code), labels == code) for code in np.unique(labels).tolist() if not 0 <= code < classes
    ]


def encode(labels: NDArray[np.int64], crops: Crops, classes: int) -> NDArray[np.float64]:
    """Codes (N,) -> one-hot targets (N, K)."""
    del crops
    return np.eye(classes)[labels]


def decode(y: NDArray[np.float64], crops: Crops) -> NDArray[np.float64]:
    """Scores as they are."""
    del crops
    return y


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives one score in (0, 1) per class; y (N, K) is 0 or 1."""
    return probe_head.fit(train, val, params, loss=_cross_entropy, link=link)


def _cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, y, reduction="none")
