"""Few-shot probes of all methods: means over draws, and the table of the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from stages.evaluation.scores import axis, printed
from stages.reporting.results import Run, expected_runs
from stages.runtime import tables
from stages.runtime.params import Params

Row = Mapping[str, Any]
KEY = ("dataset", "task", "method", "metric", "better", "shots")


def means(metrics: Path, params: Params) -> list[dict[str, Any]]:
    """Rows of tables.FEW_SHOT_MEANS but for the hashes, methods in the order of the parameters.

    The value of a draw is its mean over seeds, and the interval is Student's for the mean over draws: how far
    it depends on which training images were drawn, not on the test images.
    """
    of_key: dict[tuple[Any, ...], dict[int, list[Row]]] = {}
    for row in _rows(metrics, expected_runs(params)):
        of_key.setdefault(tuple(row[name] for name in KEY), {}).setdefault(row["draw"], []).append(row)
    return [_mean(key, draws, params) for key, draws in of_key.items()]


def _rows(metrics: Path, runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
    for run in runs:
        for row in tables.read(metrics / run.folder / "few_shot.parquet", tables.FEW_SHOT).to_pylist():
            yield {"method": run.method, **row}


def _mean(key: tuple[Any, ...], draws: Mapping[int, Sequence[Row]], params: Params) -> dict[str, Any]:
    values = np.array([np.mean([row["value"] for row in of_draw]) for of_draw in draws.values()])
    low, high = student(values, params.probe.confidence)
    images = float(np.mean([row["images"] for of_draw in draws.values() for row in of_draw]))
    of = {"images": images, "draws": len(values), "value": float(values.mean())}
    return {**dict(zip(KEY, key, strict=True)), **of, "ci_low": low, "ci_high": high}


def student(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Student's interval of the mean of the values (N,); NaN for a single one."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = special.stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def table(rows: Sequence[Row], params: Params) -> list[dict[str, Any]]:
    """The headline of every task: a row for each number of shots, a column for each method."""
    headlines = {
        (dataset, name): task.metrics[0]
        for dataset in params.face_sets
        for name, task in sorted(params.dataset[dataset].tasks.items())
    }
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if row["metric"] == headlines[row["dataset"], row["task"]]:
            lines.setdefault((row["dataset"], row["task"], row["shots"]), {})[row["method"]] = row
    return [
        {
            "title": f"{dataset} · {task}",
            "note": f"{shots} shots: {axis(headlines[dataset, task])}",
            "n": round(next(iter(of_method.values()))["images"]),
            "is_few": False,
            "cells": [_cell(of_method.get(method)) for method in params.methods],
        }
        for (dataset, task, shots), of_method in sorted(lines.items(), key=lambda line: line[0])
    ]


def _cell(row: Row | None) -> dict[str, Any] | None:
    return None if row is None else {**vars(printed(row)), "mark": ""}
