import numpy as np
import pytest
from probe_problems import first_problems

from fabnet.probe_head import Crops
from fabnet.probes import pose_neighbours

CROPS = Crops(np.ones((1, 2)), np.ones((1, 4)))


def bins(*yaw_deg: float, classes: int = 5) -> list[int]:
    labels = np.radians([[70.0, -70.0, yaw] for yaw in yaw_deg]).astype(np.float32)
    return pose_neighbours.encode(labels, CROPS, classes).argmax(1).tolist()


def test_bins_are_ordered_from_the_left_edge_of_the_image_to_the_right():
    assert bins(80, 50, 40, 20, 10, -10, -20, -40, -50, -80) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_the_middle_bin_is_centred_on_frontal_faces_for_every_odd_number():
    assert bins(14, -14, classes=3) == [1, 1]
    assert bins(16, -16, classes=3) == [0, 2]


@pytest.mark.parametrize(
    ("label", "reason"),
    [([0.1, 0.2], ("expected 3 angles", "found 2")), ([0, 0, np.nan], ("an angle is not a finite number", ""))],
)
def test_other_labels_are_problems(label, reason):
    assert first_problems(pose_neighbours, [label], 5) == [reason]
