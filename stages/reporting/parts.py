"""What each named part of a method's embedding says about every task, beside the whole embedding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.evaluation import scores
from stages.reporting.comparison import FEW
from stages.reporting.results import Run, Tested, by_method
from stages.runtime import tables

Row = Mapping[str, Any]

WHOLE = "whole"


def rows(metrics: Path, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The PART_SCORES of all runs, each with its method and seed; methods without parts have none."""
    return [
        {"method": run.method, "seed": run.seed, **row}
        for run in runs
        for row in tables.read(metrics / run.folder / "parts.parquet", tables.PART_SCORES).to_pylist()
    ]


def by_method_and_part(parts: Sequence[Row], pooled: Sequence[Row], tasks: Sequence[Tested]) -> list[dict[str, Any]]:
    """A table for each method with parts: the headline of every task, a column for the whole and for each part.

    Args:
        parts: see `rows`.
        pooled: METRICS rows, pooled over seeds.
        tasks: in the order of the table.
    """
    return [_table(method, parts, pooled, tasks) for method in dict.fromkeys(row["method"] for row in parts)]


def _table(method: str, parts: Sequence[Row], pooled: Sequence[Row], tasks: Sequence[Tested]) -> dict[str, Any]:
    own = [row for row in parts if row["method"] == method and row["target"] == scores.MEAN]
    names = sorted({row["part"] for row in own})
    lines: list[dict[str, Any]] = []
    for task in tasks:
        metric = task.metrics[0]
        of_task = [
            row for row in own if (row["dataset"], row["task"], row["metric"]) == (task.dataset, task.task, metric)
        ]
        whole = by_method(pooled, task.dataset, task.task, metric).get(method)
        cells = [_cell([whole] if whole else []), *(_cell([r for r in of_task if r["part"] == name]) for name in names)]
        n, groups = (whole["n"], whole["groups"]) if whole else (0, 0)
        note = scores.axis(metric)
        lines.append(
            {"title": f"{task.dataset} · {task.task}", "note": note, "n": n, "is_few": groups < FEW, "cells": cells}
        )
    return {"method": method, "columns": [WHOLE, *names], "rows": lines}


def _cell(of_seeds: Sequence[Row]) -> dict[str, str] | None:
    """The mean over seeds; below it the interval of the only seed, or the lowest and the highest value of a seed."""
    if not of_seeds:
        return None
    if len(of_seeds) == 1:
        return {**vars(scores.printed(of_seeds[0])), "mark": ""}
    metric, values = of_seeds[0]["metric"], [row["value"] for row in of_seeds]
    low, mean, high = (scores.number(metric, value) for value in (min(values), sum(values) / len(values), max(values)))
    return {"value": mean, "interval": f"{low} to {high}", "mark": ""}
