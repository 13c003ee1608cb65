import numpy as np

from fabnet.probe_head import Crops
from fabnet.probes import classes

CROPS = Crops(np.full((3, 2), 256.0), np.zeros((3, 4)))


def test_codes_become_one_hot_rows():
    y = classes.encode(np.array([0, 2, 1]), CROPS, 3)
    assert y.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_codes_outside_the_named_classes_are_a_problem():
    assert classes.problem(2, 3) is None
    assert classes.problem(3, 3) == ("unknown class", "3")
    assert classes.problem(-1, 3) == ("unknown class", "-1")
