"""Retrieval of head pose: the share of each bin of yaw among the nearest images of the training split.

Bins are `BIN_DEG` wide, the middle one is for faces that look into the camera, the outer two are open. Five
bins are split at 45, 15, -15 and -45 degrees. They are named from the left edge of the image to the right one; positive
yaw turns a face to the left edge. Nothing is fitted; see `fabnet.retrieval`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fabnet.probe_head import Crops, Probe, Samples, Settings
from fabnet.probes import pose
from fabnet.retrieval import Neighbours

Array = NDArray[np.float64]

YAW, ANGLES = 2, 3  # labels are roll, pitch, yaw
BIN_DEG = 30.0


def problem(label: Sequence[float] | None, classes: int) -> tuple[str, str] | None:
    """Kind and detail of what is wrong with a label, None if it can be used.

    Labels are roll, pitch and yaw in radians.
    """
    del classes  # those of the bins
    return pose.problem(label, ANGLES)


def encode(labels: Array, crops: Crops, classes: int) -> Array:
    """Angles (N, 3) in radians -> one-hot bins (N, K) of yaw, from the left edge of the image to the right one."""
    del crops
    inner_deg = BIN_DEG * (np.arange(1, classes) - classes / 2)
    return np.eye(classes)[np.digitize(-np.degrees(labels[:, YAW].astype(np.float64)), inner_deg)]


def decode(y: Array, crops: Crops) -> Array:
    """Shares as they are."""
    del crops
    return y


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives the share of each bin among the nearest of `train`; y (N, K) is one-hot."""
    del val
    return Neighbours(train.x, train.y, params.neighbours)
