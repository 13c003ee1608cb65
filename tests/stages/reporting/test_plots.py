import cv2
import numpy as np
import pytest

from stages.reporting import plots
from stages.reporting.inventory import LossCurve

METHODS = ["fabnet", "random", "split_brain", "jigsaw", "rotation"]


def panels(methods: list[str], published: float | None = None) -> list[plots.Panel]:
    bars = [plots.Bar(name, 4.0 + place, 3.5 + place, 4.8 + place) for place, name in enumerate(methods)]
    return [plots.Panel("w300 · landmarks", "error ↓", 2, bars, published, None)] * 2


def loss_curves(method: str) -> list[LossCurve]:
    return [LossCurve(method, seed, [1, 2, 3], {"train": [3, 2, 1], "val": [4, 3, 2.5]}) for seed in (0, 1)]


def test_every_method_has_its_own_colour_and_the_control_is_grey():
    found = plots.colours(METHODS)
    assert len(set(found.values())) == len(METHODS)
    assert found["random"] == plots.CONTROL_COLOUR
    twelve = [*(f"method{number}" for number in range(12)), "random"]
    assert len(set(plots.colours(twelve).values())) == 13
    assert plots.colours(["fabnet"])["fabnet"] == found["fabnet"]


@pytest.mark.parametrize("methods", [["fabnet"], METHODS])
def test_the_same_numbers_give_the_same_bytes(methods: list[str]):
    assert plots.summary(panels(methods, 5.7), methods) == plots.summary(panels(methods, 5.7), methods)
    assert plots.training(loss_curves("fabnet"), methods) == plots.training(loss_curves("fabnet"), methods)


def test_a_longer_bar_covers_more_of_its_panel():
    image = cv2.imdecode(np.frombuffer(plots.summary(panels(["fabnet", "random"]), METHODS), np.uint8), 1)
    blue, grey = (np.all(image == np.array(colour), axis=2).sum() for colour in ((0xB2, 0x72, 0x00), (0x8A,) * 3))
    assert grey / blue == pytest.approx(5 / 4, rel=0.1)


def test_a_published_value_beyond_the_bars_is_still_in_the_picture():
    assert plots.summary(panels(["fabnet"], 40.0), METHODS) != plots.summary(panels(["fabnet"], 60.0), METHODS)


def test_without_a_trained_method_the_figure_says_so():
    assert plots.training([], ["random"]).startswith(b"\x89PNG")


def test_training_panels_of_many_methods_wrap():
    names = [f"method{number}" for number in range(8)]
    drawn = plots.training([curve for name in names for curve in loss_curves(name)], names)
    height, width = cv2.imdecode(np.frombuffer(drawn, np.uint8), 1).shape[:2]
    assert width < 2000
    assert height > 1000
