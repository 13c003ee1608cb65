"""Retrieval of head pose: the share of each bin of yaw among the nearest images of the training split.

Bins are `BIN_DEG` wide, the middle one is for faces that look into the camera, the outer two are open. Five
bins are split at 45, 15, -15 and -45 degrees. They are named from the left edge of the image to the right one; positive
yaw turns a face to the left edge. Nothing is fitted; see `fabnet.retrieval`.
"""

import numpy as np
from numpy.typing import NDArray

from fabnet.probe_head import Crops, Probe, Problem, Samples, Settings
from fabnet.probes import pose
from fabnet.retrieval import Neighbours

Array = NDArray[np.float64]

YAW, ANGLES = 2, 3  # labels are roll, pitch, yaw
BIN_DEG = 30.0


def problems(labels: Array, classes: int) -> list[Problem]:
    """What is wrong with labels (N, L): roll, pitch and yaw in radians."""
    del classes  # those of the bins
    return pose.problems(labels, ANGLES)


def encode(labels: Array, crops: Crops, classes: int) -> Array:
    """Angles (N, 3) in radians -> one-hot bins (N, K) of yaw, from the left edge of the image to the right one."""
    del crops
    inner_deg = BIN_DEG * (np.arange(1, classes) - classes / 2)
    return np.eye(classes)[np.digitize(-np.degrees(labels[:, YAW]), inner_deg)]


def decode(y: Array, crops: Crops) -> Array:
    """Shares as they are."""
    del crops
    return y


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives the share of each bin among the nearest of `train`; y (N, K) is one-hot."""
    del val
    return Neighbours(train.x, train.y, params.neighbours)
