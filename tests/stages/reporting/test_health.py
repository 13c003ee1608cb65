from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.reporting import health, results
from stages.reporting.health import Health
from stages.runtime import tables

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
    lost = {"watched_frames": 100.0, "effective_rank": 1.0, "dead_share": 1.0}
    assert Health("fabnet", 0, {0: lost, 50: training("fabnet").of_step[50]}).problem is None
    assert Health("pca", 0, {0: lost}).problem  # solved, without a step
    assert health.collapsed([training("fabnet", 3, last=1.0), training("vicreg")]) == [
        "fabnet, seed 3: the effective rank is 1.0, below 3"
    ]


def test_frames_that_stand_still_and_losses_that_vanish_are_told_of_each_training(tmp_path: Path):
    def write(name: str, still: float, losses: list[float]) -> None:
        rows = [{"epoch": 0, "step": 0, "split": "val", "metric": "still_share", "value": still}]
        for epoch, loss in enumerate(losses, 1):
            at = {"epoch": epoch, "step": epoch, "metric": "loss", "value": loss}
            rows += [{**at, "split": split} for split in ("train", "val")]
        path = tmp_path / name / "history.parquet"
        tables.write(path, tables.HISTORY, rows, key=["epoch", "split", "metric"])

    runs = [results.Run(method, 0) for method in ("fabnet", "still", "vanished")]
    for run, still, losses in zip(runs, (0.2, 1.0, 0.0), ([0.2, 0.1], [0.2, 0.1], [0.2, 0.0]), strict=True):
        write(run.folder, still, losses)
    first, second = health.causes(health.read(tmp_path, runs))
    assert first.startswith("still, seed 0: all frames are the same picture in 100% of the watched tracks")
    assert second.startswith("vanished, seed 0: the training loss is 0, so nothing is left to learn")
