"""Paired differences for the report: a table per control, a sentence per method that does not beat it."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.evaluation.scores import METRICS, axis, printed
from stages.reporting.results import CONTROL

Row = Mapping[str, Any]  # of DIFFERENCES

BETTER, WORSE, OPEN = "better", "worse", "open"


def verdict(row: Row) -> str:
    """Better or worse where the interval of the difference excludes 0."""
    if row["ci_low"] <= 0 <= row["ci_high"] or not row["ci_low"] <= row["ci_high"]:
        return OPEN
    return BETTER if (row["ci_low"] > 0) == METRICS[row["metric"]].higher_is_better else WORSE


def table(rows: Sequence[Row], control: str) -> dict[str, Any] | None:
    """A row per method, a column per task; None if there are no differences to this control."""
    cells = {(row["method"], row["dataset"], row["task"]): row for row in rows if row["control"] == control}
    tasks = list(dict.fromkeys((row["dataset"], row["task"], row["metric"]) for row in cells.values()))
    methods = list(dict.fromkeys(method for method, _, _ in cells))
    if not cells:
        return None
    return {
        "control": control,
        "is_untrained": control == CONTROL,
        "columns": [{"title": f"{dataset} · {task}", "axis": axis(metric)} for dataset, task, metric in tasks],
        "rows": [
            {"method": method, "cells": [_cell(cells.get((method, *task[:2]))) for task in tasks]} for method in methods
        ],
    }


def sentences(rows: Sequence[Row]) -> list[str]:
    """Per task, the methods that do not beat the untrained encoder; one sentence if all beat it on all tasks."""
    against = [row for row in rows if row["control"] == CONTROL]
    claims: list[str] = []
    for task in dict.fromkeys(_task(row) for row in against):
        for kind, claim in (
            (OPEN, "No evidence that {methods} {beat} the untrained encoder on {task}."),
            (WORSE, "On {task} the untrained encoder is better than {methods}."),
        ):
            methods = [row["method"] for row in against if _task(row) == task and verdict(row) == kind]
            if methods:
                beat = "beats" if len(methods) == 1 else "beat"
                claims.append(claim.format(methods=_listed(methods), beat=beat, task=task))
    if against and not claims:
        claims.append("Every other method beats the untrained encoder on every task.")
    return claims


def _task(row: Row) -> str:
    return f"{row['dataset']} {row['task'].replace('_', ' ')}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _cell(row: Row | None) -> dict[str, Any] | None:
    return None if row is None else {**vars(printed(row, signed=True)), "verdict": verdict(row)}
