"""What each named part of a method's embedding says about every task, beside the whole embedding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.evaluation import scores
from stages.reporting.comparison import FEW, verdict
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


def differences(metrics: Path, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The PART_DIFFERENCES of all runs, each with its method and seed."""
    return [
        {"method": run.method, "seed": run.seed, **row}
        for run in runs
        for row in tables.read(metrics / run.folder / "part_differences.parquet", tables.PART_DIFFERENCES).to_pylist()
    ]


def by_method_and_part(
    parts: Sequence[Row], differences: Sequence[Row], pooled: Sequence[Row], tasks: Sequence[Tested]
) -> list[dict[str, Any]]:
    """A table for each method with parts: the headline of every task, by the whole, by each part, and pairs of parts.

    Args:
        parts: see `rows`.
        differences: see the function of this name.
        pooled: METRICS rows, pooled over seeds.
        tasks: in the order of the table.
    """
    return [
        _table(method, parts, [row for row in differences if row["method"] == method], pooled, tasks)
        for method in dict.fromkeys(row["method"] for row in parts)
    ]


def _table(
    method: str, parts: Sequence[Row], differences: Sequence[Row], pooled: Sequence[Row], tasks: Sequence[Tested]
) -> dict[str, Any]:
    own = [row for row in parts if row["method"] == method and row["target"] == scores.MEAN]
    names = sorted({row["part"] for row in own})
    pairs = sorted({(row["part"], row["other"]) for row in differences})
    lines: list[dict[str, Any]] = []
    for task in tasks:
        key = (task.dataset, task.task, task.metrics[0])
        of_task, paired = ([row for row in rows if _key(row) == key] for rows in (own, differences))
        whole = by_method(pooled, *key).get(method)
        cells = [
            _cell([whole] if whole else []),
            *(_cell([row for row in of_task if row["part"] == name]) for name in names),
            *(_cell([row for row in paired if (row["part"], row["other"]) == pair], signed=True) for pair in pairs),
        ]
        n, groups = (whole["n"], whole["groups"]) if whole else (0, 0)
        note = scores.axis(key[2])
        lines.append(
            {"title": f"{task.dataset} · {task.task}", "note": note, "n": n, "is_few": groups < FEW, "cells": cells}
        )
    columns = [WHOLE, *names, *(f"{one} minus {other}" for one, other in pairs)]
    return {"method": method, "columns": columns, "rows": lines}


def _key(row: Row) -> tuple[str, str, str]:
    return row["dataset"], row["task"], row["metric"]


def _cell(of_seeds: Sequence[Row], *, signed: bool = False) -> dict[str, str] | None:
    """The mean over seeds; below it the interval of the only seed, or the lowest and the highest value of a seed.

    A difference, which is `signed`, is marked where the interval of the only seed excludes 0.
    """
    if not of_seeds:
        return None
    if len(of_seeds) == 1:
        mark = verdict(of_seeds[0]) if signed else ""
        return {**vars(scores.printed(of_seeds[0], signed=signed)), "mark": mark}
    metric, values = of_seeds[0]["metric"], [row["value"] for row in of_seeds]
    three = (min(values), sum(values) / len(values), max(values))
    low, mean, high = (scores.number(metric, value, signed=signed) for value in three)
    return {"value": mean, "interval": f"{low} to {high}", "mark": ""}
