"""Linear probe for points: regression of coordinates in [-1, 1] over the crop.

Loss: half the squared error per coordinate (the paper's loss is not known; its targets are in [-1, 1]). Here -1
and 1 are the outer edges of the first and the last pixel; the head has a shift, so the choice changes nothing.
"""

import numpy as np
from numpy.typing import NDArray

from fabnet import metrics, probe_head
from fabnet.probe_head import Crops, Probe, Problem, Samples, Settings

Array = NDArray[np.float64]
link = probe_head.as_is


def problems(labels: Array, classes: int) -> list[Problem]:
    """What is wrong with labels (N, L): x0, y0, x1, y1 ... in pixels of the stored crop."""
    del classes
    count = labels.shape[1] // 2
    is_known = count in metrics.EYE_POINTS and not labels.shape[1] % 2
    is_blind: NDArray[np.bool_] = np.zeros(len(labels), np.bool_)
    if is_known:
        first, second = metrics.EYE_POINTS[count]
        is_blind = (_pairs(labels)[:, first] == _pairs(labels)[:, second]).all(1)
    return [
        ("a point is not a finite number", "", np.any(~np.isfinite(labels), axis=1)),
        ("unknown number of points", str(count), np.full(len(labels), not is_known)),
        ("the two eye points coincide", "", is_blind),
    ]


def encode(labels: Array, crops: Crops, classes: int) -> Array:
    """Points (N, 2 P) in pixels of the stored crop, pixel centres -> targets (N, 2 P) in [-1, 1] over the crop."""
    del classes
    points = _pairs(labels)
    return ((points + 0.5) / crops.size_px[:, None] * 2 - 1).reshape(labels.shape)


def decode(y: Array, crops: Crops) -> Array:
    """Targets or predictions (N, 2 P) -> points in pixels of the source image, pixel centres."""
    corner, extent = crops.source_xyxy_px[:, :2], crops.source_xyxy_px[:, 2:] - crops.source_xyxy_px[:, :2]
    points = (_pairs(y) + 1) / 2
    return (corner[:, None] + points * extent[:, None] - 0.5).reshape(y.shape)


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives coordinates; y is (N, 2 P) in [-1, 1] over the crop."""
    return probe_head.fit(train, val, params, loss=probe_head.half_squared_error, link=link)


def _pairs(flat: Array) -> Array:
    """(N, 2 P) -> (N, P, 2), no rows as well."""
    return flat.reshape(len(flat), flat.shape[1] // 2, 2)
