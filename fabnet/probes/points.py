"""Linear probe for points: regression of coordinates in [-1, 1] over the crop.

Loss: half the squared error per coordinate (the paper's loss is not known; its targets are in [-1, 1]). Here -1
and 1 are the outer edges of the first and the last pixel; the head has a shift, so the choice changes nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fabnet import metrics, probe_head
from fabnet.probe_head import Crops, Probe, Samples, Settings

Array = NDArray[np.float64]
link = probe_head.as_is


def problem(label: Sequence[float] | None, classes: int) -> tuple[str, str] | None:
    """Kind and detail of what is wrong with a label, None if it can be used.

    Labels are x0, y0, x1, y1 ... in pixels of the stored crop.
    """
    del classes
    if label is None:
        return "no label", ""
    points = np.asarray(label, np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        return "a point is not a finite number", ""
    if len(points) not in metrics.EYE_POINTS:
        return "unknown number of points", str(len(points))
    first, second = metrics.EYE_POINTS[len(points)]
    return ("the two eye points coincide", "") if (points[first] == points[second]).all() else None


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
