import math

import numpy as np
import pytest
from probe_problems import first_problems

from fabnet.probe_head import Crops
from fabnet.probes import pose

CROPS = Crops(np.full((2, 2), 256.0), np.zeros((2, 4)))


def test_angles_are_fitted_in_radians_and_decoded_to_degrees():
    labels = np.array([[math.pi / 2, 0, -math.pi / 4], [0.1, 0.2, 0.3]])
    y = pose.encode(labels, CROPS, 3)
    assert y.tolist() == labels.tolist()
    assert pose.decode(y, CROPS)[0].tolist() == pytest.approx([90, 0, -45])


def test_angles_that_cannot_be_scored_are_a_problem():
    assert first_problems(pose, [[0.1, 0.2, 0.3], [0.1, math.nan, 0.3]], 3) == [
        None,
        ("an angle is not a finite number", ""),
    ]
    assert first_problems(pose, [[0.1]], 3) == [("expected 3 angles", "found 1")]
