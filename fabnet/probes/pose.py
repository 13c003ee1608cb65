"""Linear probe for head pose: regression of roll, pitch and yaw in radians.

Loss: half the squared error per angle. Angles keep their owner's signs; predictions are reported in degrees.
"""

import numpy as np
from numpy.typing import NDArray

from fabnet import probe_head
from fabnet.probe_head import Crops, Probe, Problem, Samples, Settings

Array = NDArray[np.float64]
link = probe_head.as_is


def problems(labels: Array, classes: int) -> list[Problem]:
    """What is wrong with labels (N, L), `classes` angles in radians."""
    rows, angles = labels.shape
    return [
        (f"expected {classes} angles", f"found {angles}", np.full(rows, angles != classes)),
        ("an angle is not a finite number", "", ~np.isfinite(labels).all(1)),
    ]


def encode(labels: Array, crops: Crops, classes: int) -> Array:
    """Angles (N, K) in radians as they are."""
    del crops, classes
    return labels


def decode(y: Array, crops: Crops) -> Array:
    """Radians -> degrees."""
    del crops
    return np.degrees(y)


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives angles in radians; y is (N, K)."""
    return probe_head.fit(train, val, params, loss=probe_head.half_squared_error, link=link)
