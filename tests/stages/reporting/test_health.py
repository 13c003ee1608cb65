import math

import cv2
import numpy as np
import pytest

from stages.reporting import health
from stages.reporting.health import Health

METHODS = [*(f"method{number}" for number in range(16)), "random"]


def training(method: str, seed: int = 0, last: float = 10.0) -> Health:
    start = {
        "watched_frames": 100.0,
        "effective_rank": 40.0,
        "dead_share": 0.0,
        "never_positive_share": 0.4,
        "knn_track": 0.9,
    }
    return Health(method, seed, {0: start, 50: {**start, "effective_rank": last}})


def image(trainings: list[Health], methods: list[str] = METHODS) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(health.draw(trainings, methods), np.uint8), 1)


def test_curves_are_means_over_the_seeds_that_have_a_step():
    longer = Health("fabnet", 1, {**training("fabnet", 1, 20.0).of_step, 80: {"effective_rank": 7.0}})
    trainings = [training("fabnet"), longer, training("vicreg")]
    assert health.curves(trainings, "effective_rank") == {
        "fabnet": [(0, 40.0), (50, 15.0), (80, 7.0)],
        "vicreg": [(0, 40.0), (50, 10.0)],
    }
    assert health.curves(trainings, "knn_identity") == {}


@pytest.mark.parametrize("count", [0, 1, 16])
def test_the_figure_has_the_same_bytes_and_a_readable_size(count: int):
    trainings = [training(method, last=place) for place, method in enumerate(METHODS[:count], 1)]
    assert health.draw(trainings, METHODS) == health.draw(trainings, METHODS)
    assert max(image(trainings).shape) < 2200


def test_a_rank_that_moves_changes_the_figure():
    assert health.draw([training("fabnet")], ["fabnet"]) != health.draw([training("fabnet", last=3)], ["fabnet"])


def test_methods_that_share_a_colour_are_told_apart_by_dashes():
    first, again = (image([training("a" * 9)], methods) for methods in (["a" * 9], [*METHODS[:12], "a" * 9]))
    assert first.shape == again.shape
    blue = (0xB2, 0x72, 0)
    drawn, dashed = (np.all(each == np.array(blue), axis=2).sum() for each in (first, again))
    assert 0 < dashed < drawn


def test_only_the_end_of_a_training_counts_as_its_collapse():
    assert training("fabnet").problem is None
    assert (
        Health("fabnet", 0, {0: {"watched_frames": 9.0, "effective_rank": 1.0, "dead_share": math.inf}}).problem is None
    )
    assert health.collapsed([training("fabnet", 3, last=1.0), training("vicreg")]) == [
        "fabnet, seed 3: the effective rank is 1.0, below 3"
    ]
