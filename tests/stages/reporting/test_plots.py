import cv2
import numpy as np
import pytest

from stages.reporting import panels, plots
from stages.reporting.contents import LearningCurves, LossCurve

METHODS = ["fabnet", "random", "split_brain", "jigsaw", "rotation"]


def tasks(methods: list[str], published: float | None = None) -> list[plots.Panel]:
    bars = [plots.Bar(name, 4.0 + place, 3.5 + place, 4.8 + place) for place, name in enumerate(methods)]
    return [plots.Panel("w300 · landmarks", "error ↓", 2, bars, published, None)] * 2


def loss_curves(method: str) -> list[LossCurve]:
    return [LossCurve(method, seed, [1, 2, 3], {"train": [3, 2, 1], "val": [4, 3, 2.5]}) for seed in (0, 1)]


def learning_curves(count: int) -> list[LearningCurves]:
    points = {name: [(0, 9.0)] if name == "random" else [(10, 8.0), (20, 7.5)] for name in METHODS}
    return [LearningCurves("w300", "landmarks", "interocular_percent", points)] * count


def test_every_method_has_its_own_colour_and_the_control_is_grey():
    found = panels.colours(METHODS)
    assert len(set(found.values())) == len(METHODS)
    assert found["random"] == panels.CONTROL_COLOUR
    twelve = [*(f"method{number}" for number in range(12)), "random"]
    assert len(set(panels.colours(twelve).values())) == 13
    assert panels.colours(["fabnet"])["fabnet"] == found["fabnet"]


@pytest.mark.parametrize("methods", [["fabnet"], METHODS])
def test_the_same_numbers_give_the_same_bytes(methods: list[str]):
    assert plots.summary(tasks(methods, 5.7), methods) == plots.summary(tasks(methods, 5.7), methods)
    assert plots.loss_curves(loss_curves("fabnet"), methods) == plots.loss_curves(loss_curves("fabnet"), methods)


def test_a_longer_bar_covers_more_of_its_panel():
    image = cv2.imdecode(np.frombuffer(plots.summary(tasks(["fabnet", "random"]), METHODS), np.uint8), 1)
    blue, grey = (np.all(image == np.array(colour), axis=2).sum() for colour in ((0xB2, 0x72, 0x00), (0x8A,) * 3))
    assert grey / blue == pytest.approx(5 / 4, rel=0.1)


def test_a_published_value_beyond_the_bars_is_still_in_the_figure():
    assert plots.summary(tasks(["fabnet"], 40.0), METHODS) != plots.summary(tasks(["fabnet"], 60.0), METHODS)


def test_there_is_a_figure_without_a_trained_method():
    assert plots.loss_curves([], ["random"]).startswith(b"\x89PNG")


def test_loss_curves_of_many_methods_wrap():
    names = [f"method{number}" for number in range(8)]
    drawn = plots.loss_curves([curve for name in names for curve in loss_curves(name)], names)
    height, width = cv2.imdecode(np.frombuffer(drawn, np.uint8), 1).shape[:2]
    assert width < 2000
    assert height > 1000


@pytest.mark.parametrize("count", [0, 1, 5])
def test_learning_curves_give_the_same_bytes_and_wrap(count: int):
    drawn = plots.learning_curves(learning_curves(count), METHODS)
    assert drawn == plots.learning_curves(learning_curves(count), METHODS)
    assert max(cv2.imdecode(np.frombuffer(drawn, np.uint8), 1).shape) < 2200


def test_a_learning_curve_that_moves_changes_the_figure():
    moved = [LearningCurves("w300", "landmarks", "interocular_percent", {"fabnet": [(10, 8.0), (20, 3.0)]})]
    assert plots.learning_curves(moved, ["fabnet"]) != plots.learning_curves(learning_curves(1), ["fabnet"])
