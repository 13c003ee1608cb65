import numpy as np

from fabnet.probe_head import Crops
from fabnet.probes import classes

CROPS = Crops(np.full((3, 2), 256.0), np.zeros((3, 4)))


def test_codes_become_one_hot_rows():
    y = classes.encode(np.array([0, 2, 1]), CROPS, 3)
    assert y.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_codes_outside_the_named_classes_are_a_problem():
    labels = np.array([2, 3, -1, 3, 0], np.int8)
    found = {(kind, detail): is_wrong.tolist() for kind, detail, is_wrong in classes.problems(labels, 3)}
    assert found == {
        ("unknown class", "-1"): [False, False, True, False, False],
        ("unknown class", "3"): [False, True, False, True, False],
    }
