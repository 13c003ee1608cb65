from dataclasses import replace

import cv2
import numpy as np
import pytest

from stages.reporting import crop_sensitivity, panels, plots
from stages.reporting.contents import LearningCurves, LossCurve, Point

METHODS = ["fabnet", "random", "split_brain", "jigsaw", "rotation"]


def sensitivity(value: float) -> list[dict[str, object]]:
    """Rows of two methods and seeds on two tasks; the last scale of `fabnet` has this value."""
    return [
        {"dataset": dataset, "task": "landmarks", "metric": "interocular_percent", "method": method, "seed": seed,
         "scale": scale, "shift": shift, "value": value if (method, scale) == ("fabnet", 1.25) else 8.0 + seed}
        for dataset in ("mafl", "w300") for method in ("fabnet", "random") for seed in (0, 1)
        for scale, shift in ((0.8, 0.0), (1.0, 0.0), (1.25, 0.0), (1.0, 0.1))
    ]  # fmt: skip


def tasks(methods: list[str], published: float | None = None) -> list[plots.Panel]:
    bars = [plots.Bar(name, 4.0 + place, 3.5 + place, 4.8 + place) for place, name in enumerate(methods)]
    return [plots.Panel("w300 · landmarks", "error ↓", 2, bars, published, None)] * 2


def loss_curves(method: str) -> list[LossCurve]:
    return [LossCurve(method, seed, [1, 2, 3], {"train": [3, 2, 1], "val": [4, 3, 2.5]}) for seed in (0, 1)]


def learning_curves(count: int) -> list[LearningCurves]:
    points = {
        name: [Point(0, 9.0, 8.5, 9.5)] if name == "random" else [Point(10, 8.0, 7.0, 9.0), Point(20, 7.5, 7.0, 8.0)]
        for name in METHODS
    }
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


def test_a_learning_curve_or_an_interval_that_moves_changes_the_figure():
    (curves,) = learning_curves(1)
    as_it_is = plots.learning_curves([curves], METHODS)
    first, last = curves.points["fabnet"]
    for method, points in (
        ("fabnet", [first, last._replace(value=3.0)]),
        ("fabnet", [first, last._replace(ci_low=3.0)]),
        ("random", [curves.points["random"][0]._replace(ci_high=10.0)]),
    ):
        moved = replace(curves, points={**curves.points, method: points})
        assert plots.learning_curves([moved], METHODS) != as_it_is


def test_of_many_learning_curves_only_the_first_and_the_untrained_encoder_are_shaded():
    (curves,) = learning_curves(1)
    first, last = curves.points["rotation"]
    moved = replace(curves, points={**curves.points, "rotation": [first, last._replace(ci_high=8.5)]})
    assert plots.learning_curves([moved], METHODS) == plots.learning_curves([curves], METHODS)


def test_lines_over_scale_and_over_shift_are_means_over_seeds():
    rows = [row for row in sensitivity(20.0) if row["dataset"] == "w300" and row["method"] == "fabnet"]
    scaled = [row for row in rows if not row["shift"]]
    assert crop_sensitivity.line(scaled, "scale") == {0.8: 8.5, 1.0: 8.5, 1.25: 20.0}


def test_a_change_of_scale_moves_the_figure_over_scale_and_not_that_over_shift():
    one, other = ({along: crop_sensitivity.draw(sensitivity(value), METHODS[:2], along) for along in ("scale", "shift")}
                  for value in (9.0, 20.0))  # fmt: skip
    assert one["scale"] != other["scale"]
    assert one["shift"] == other["shift"]
    assert crop_sensitivity.draw([], METHODS, "scale").startswith(b"\x89PNG")


def test_a_value_without_an_interval_and_a_task_without_a_value_are_drawn():
    none = float("nan")
    alone = plots.Panel("w300 · landmarks", "error ↓", 2, [plots.Bar("fabnet", 4.0, none, none)], None, None)
    known = replace(alone, bars=[plots.Bar("fabnet", 4.0, 4.0, 4.0)])  # an interval of no width
    empty = replace(alone, bars=[])
    assert plots.summary([alone], METHODS) == plots.summary([known], METHODS)
    assert plots.summary([alone, empty], METHODS) != plots.summary([alone, known], METHODS)
