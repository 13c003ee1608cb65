"""Paired differences for the report: how the methods stand to each other in a task, and a table per control."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.scores import METRICS, axis, printed
from stages.reporting.results import CONTROL, Tested, by_method

Row = Mapping[str, Any]  # of METRICS, of DIFFERENCES

FEW = 30  # below so many groups of test images (or identities) a task decides nothing
BETTER, WORSE, OPEN = "better", "worse", "open"


@dataclass(frozen=True)
class Standing:
    """How the methods stand to each other in one metric of one task, on the whole test split."""

    dataset: str
    task: str
    metric: str
    rows: Mapping[str, Row]  # of METRICS, by method; a method whose value is undefined is missing
    leads: Mapping[str, Row]  # of DIFFERENCES: the best minus each other method, the next best first
    against_control: Sequence[Row]  # of DIFFERENCES: methods minus the untrained encoder; empty: not compared

    @property
    def best(self) -> str | None:
        """The method with the best value, the first one if several have it."""
        return next((row["method"] for row in self.leads.values()), next(iter(self.rows), None))

    @property
    def tied(self) -> list[str]:
        """The best method, and every other one that the paired bootstrap does not tell from it."""
        others = [method for method, row in self.leads.items() if verdict(row) == OPEN]
        return [self.best, *others] if self.best is not None else []

    @property
    def n(self) -> int:
        """Test images, or identities; 0 where no method has a value."""
        return next((row["n"] for row in self.rows.values()), 0)

    @property
    def groups(self) -> int:
        """That these belong to; images of one group err together."""
        return next((row["groups"] for row in self.rows.values()), 0)

    @property
    def is_small(self) -> bool:
        return self.groups < FEW

    @property
    def all_tie(self) -> bool:
        return len(self.rows) > 1 and len(self.tied) == len(self.rows)

    @property
    def all_like_control(self) -> bool:
        """No method really differs from the untrained encoder."""
        return bool(self.against_control) and all(verdict(row) == OPEN for row in self.against_control)

    @property
    def is_decided(self) -> bool:
        return not (self.is_small or self.all_tie or self.all_like_control)


def standings(
    tasks: Iterable[Tested], rows: Sequence[Row], leads: Sequence[Row], differences: Sequence[Row]
) -> list[Standing]:
    """One for every metric of every task."""
    return [
        _standing((task.dataset, task.task, metric), rows, leads, differences)
        for task in tasks
        for metric in task.metrics
    ]


def _standing(
    key: tuple[str, str, str], rows: Sequence[Row], leads: Sequence[Row], differences: Sequence[Row]
) -> Standing:
    ahead = sorted((row for row in leads if _key(row) == key), key=lambda row: abs(row["value"]))
    against = [row for row in differences if row["control"] == CONTROL and _key(row) == key]
    return Standing(*key, by_method(rows, *key), {row["control"]: row for row in ahead}, against)


def _key(row: Row) -> tuple[str, str, str]:
    return row["dataset"], row["task"], row["metric"]


def verdict(row: Row) -> str:
    """Better or worse where the interval of the difference excludes 0."""
    if row["ci_low"] <= 0 <= row["ci_high"] or not row["ci_low"] <= row["ci_high"]:
        return OPEN
    return BETTER if (row["ci_low"] > 0) == METRICS[row["metric"]].higher_is_better else WORSE


def table(rows: Sequence[Row], control: str) -> dict[str, Any] | None:
    """A row per task, a column per method; None if there are no differences to this control."""
    cells = {(row["method"], _key(row)): row for row in rows if row["control"] == control}
    methods = list(dict.fromkeys(method for method, _ in cells))
    if not cells:
        return None
    return {
        "control": control,
        "is_untrained": control == CONTROL,
        "columns": methods,
        "rows": [
            {
                "title": f"{key[0]} · {key[1]}",
                "note": axis(key[2]),
                "n": row["n"],
                "is_few": row["groups"] < FEW,
                "cells": [_cell(cells.get((method, key))) for method in methods],
            }
            for key, row in {_key(row): row for row in cells.values()}.items()
        ],
    }


def _cell(row: Row | None) -> dict[str, Any] | None:
    return None if row is None else {**vars(printed(row, signed=True)), "mark": verdict(row)}
