"""Few-shot probes as rows of the reference table: mean over draws of training images, paired by draw."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.reporting import few_shot
from stages.runtime import tables
from stages.runtime.params import Params

Array = NDArray[np.float64]
Scored = dict[str, Any]
Key = tuple[str, str, str, int]  # data set, task, metric, shots


def scored(root: Path, params: Params) -> Iterator[tuple[Scored, dict[str, Scored]]]:
    """For each task, metric, number of shots and method: the mean, and its differences to the other methods.

    `n` counts draws, and intervals are Student's over them: how far a value depends on which training images were
    drawn. Draws hold the same images for every method, so a difference is taken draw by draw.
    """
    for (dataset, task, metric, shots), of_method in _values(root, params).items():
        of_task = {"dataset": dataset, "task": task, "metric": metric, "shots": shots, "split": "test", "seed": None}
        for method, values in of_method.items():
            row = {**of_task, "method": method, "n": len(values), **_estimate(values, params.probe.confidence)}
            minus = {
                other: _estimate(values - of_other, params.probe.confidence)
                for other, of_other in of_method.items()
                if other != method
            }
            yield row, minus


def _values(root: Path, params: Params) -> Mapping[Key, Mapping[str, Array]]:
    """The value of every draw, mean over seeds, by method; empty without few-shot probes."""
    drawn: dict[Key, dict[str, dict[int, list[float]]]] = {}
    for method in params.methods:
        for seed in params.seeds:
            path = root / "data" / "metrics" / f"{method}-{seed}" / "few_shot.parquet"
            for row in tables.read(path).to_pylist() if path.exists() else []:
                key = (row["dataset"], row["task"], row["metric"], row["shots"])
                drawn.setdefault(key, {}).setdefault(method, {}).setdefault(row["draw"], []).append(row["value"])
    return {key: {method: _means(draws) for method, draws in of_key.items()} for key, of_key in drawn.items()}


def _means(draws: Mapping[int, list[float]]) -> Array:
    return np.array([np.mean(draws[draw]) for draw in sorted(draws)], np.float64)


def _estimate(values: Array, confidence: float) -> Scored:
    """Mean of (N,) values with Student's interval, which is not finite for a single one."""
    low, high = few_shot.student(values, confidence)
    return {"value": float(values.mean()), "ci_low": low, "ci_high": high}
