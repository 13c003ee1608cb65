import cv2
import numpy as np
import pytest

from stages.reporting import curves
from stages.reporting.inventory import LearningCurves
from stages.reporting.results import LEVELS, ClassCurves

METHODS = [*(f"method{number}" for number in range(9)), "random"]


def panels(count: int, methods: list[str]) -> list[LearningCurves]:
    points = {name: [(0, 9.0)] if name == "random" else [(10, 8.0), (20, 7.5)] for name in methods}
    return [LearningCurves("w300", "landmarks", "interocular_percent", points)] * count


def classes(count: int, methods: list[str]) -> list[ClassCurves]:
    lines = {name: np.sqrt(LEVELS) for name in curves.shown(methods)}
    return [ClassCurves(f"class{number}", 0.2, lines, lines) for number in range(count)]


def size(png: bytes) -> tuple[int, int]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.shape[1], image.shape[0]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_learning_curves_give_the_same_bytes_and_wrap(count: int):
    drawn = curves.learning(panels(count, METHODS), METHODS)
    assert drawn == curves.learning(panels(count, METHODS), METHODS)
    assert max(size(drawn)) < 2200


def test_a_learning_curve_that_moves_changes_the_picture():
    moved = [LearningCurves("w300", "landmarks", "interocular_percent", {"method0": [(10, 8.0), (20, 3.0)]})]
    assert curves.learning(moved, ["method0"]) != curves.learning(panels(1, ["method0"]), ["method0"])


@pytest.mark.parametrize("count", [2, 8, 11])
def test_roc_and_precision_give_the_same_bytes_and_wrap(count: int):
    drawn = curves.roc_pr(classes(count, METHODS), METHODS)
    assert drawn == curves.roc_pr(classes(count, METHODS), METHODS)
    assert max(size(drawn)) < 2200


def test_of_many_methods_the_first_ones_and_the_control_are_shown():
    assert curves.shown(METHODS) == [*METHODS[:5], "random"]
    assert curves.shown(METHODS[:6]) == METHODS[:6]
    assert curves.shown(METHODS[:9]) == METHODS[:6]
