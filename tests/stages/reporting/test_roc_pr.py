import cv2
import numpy as np
import pytest

from stages.reporting import roc_pr
from stages.reporting.results import LEVELS, ClassCurves

METHODS = [*(f"method{number}" for number in range(9)), "random"]


def classes(count: int) -> list[ClassCurves]:
    lines = {name: np.sqrt(LEVELS) for name in roc_pr.shown(METHODS)}
    return [ClassCurves(f"class{number}", 0.2, lines, lines) for number in range(count)]


@pytest.mark.parametrize("count", [2, 11])
def test_classes_give_the_same_bytes_and_wrap(count: int):
    drawn = roc_pr.draw(classes(count), METHODS)
    assert drawn == roc_pr.draw(classes(count), METHODS)
    assert max(cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR).shape) < 2200


def test_of_many_methods_the_first_ones_and_the_control_are_shown():
    assert roc_pr.shown(METHODS) == [*METHODS[:5], "random"]
    assert roc_pr.shown(METHODS[:6]) == METHODS[:6]
    assert roc_pr.shown(METHODS[:9]) == METHODS[:6]
