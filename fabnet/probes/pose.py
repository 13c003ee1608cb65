"""Linear probe for head pose: regression of roll, pitch and yaw in radians.

Loss: half the squared error per angle. Angles keep their owner's signs; predictions are reported in degrees.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fabnet import probe_head
from fabnet.probe_head import Crops, Probe, Samples, Settings

Array = NDArray[np.float64]
link = probe_head.as_is


def problem(label: Sequence[float] | None, classes: int) -> tuple[str, str] | None:
    """Kind and detail of what is wrong with a label, None if it can be used.

    Labels are `classes` angles in radians.
    """
    if label is None:
        return "no label", ""
    if len(label) != classes:
        return f"expected {classes} angles", f"found {len(label)}"
    return None if np.isfinite(np.array(label, np.float64)).all() else ("an angle is not a finite number", "")


def encode(labels: Array, crops: Crops, classes: int) -> Array:
    """Angles (N, K) in radians as they are."""
    del crops, classes
    return labels.astype(np.float64)


def decode(y: Array, crops: Crops) -> Array:
    """Radians -> degrees."""
    del crops
    return np.degrees(y)


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives angles in radians; y is (N, K)."""
    return probe_head.fit(train, val, params, loss=probe_head.half_squared_error, link=link)
