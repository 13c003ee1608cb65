"""Linear probe for points: regression of coordinates in [-1, 1] over the crop.

Loss: half the squared error per coordinate (the paper's loss is not known; its targets are in [-1, 1]).
"""

from torch import Tensor

from fabnet import probe_head
from fabnet.probe_head import Probe, Samples, Settings


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives coordinates; y is (N, 2 P) as x0, y0, x1, y1 ..., in [-1, 1] over the crop."""
    return probe_head.fit(train, val, params, loss=_half_squared_error, link=_as_is)


def _half_squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).square() / 2


def _as_is(outputs: Tensor) -> Tensor:
    return outputs
