"""How much each metric depends on the crop: rows of every run, and a figure of lines over scale or shift."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes

from stages.evaluation import scores
from stages.reporting import panels
from stages.reporting.panels import tidy
from stages.reporting.png import INK
from stages.reporting.results import Run
from stages.runtime import tables

Row = Mapping[str, Any]
Along = Literal["scale", "shift"]

UNCHANGED = {"scale": 1.0, "shift": 0.0}
LABELS = {"scale": "scale of the crop's sides", "shift": "shift, as a share of the crop's sides"}


def rows(sensitivity: Path, runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
    """The rows that `perturb` wrote, each with its method and seed.

    Raises:
        UserError: the table of a run is missing.
    """
    for run in runs:
        table = tables.read(sensitivity / run.folder / "sensitivity.parquet", tables.SENSITIVITY)
        for row in table.to_pylist():
            yield {"method": run.method, "seed": run.seed, **row}


def draw(found: Iterable[Row], methods: Sequence[str], along: Along) -> bytes:
    """One panel per task and metric as PNG: the metric over one kind of change, a line per method, mean over seeds."""
    other = "shift" if along == "scale" else "scale"
    kept = [row for row in found if row[other] == UNCHANGED[other]]
    tasks = [list(group) for _, group in groupby(sorted(kept, key=_task), _task)]
    figure, grid = panels.grid(len(tasks), lambda columns, rows: (4.2 * columns, 3.0 * rows + 0.5))
    for axes, task in zip(grid, tasks, strict=False):
        for method, (colour, look) in panels.looks(methods).items():
            values = line([row for row in task if row["method"] == method], along)
            axes.plot(list(values), list(values.values()), look, ms=3, lw=1.6, color=colour, label=method)
        _finish(axes, task[0], along)
    return panels.finish(figure, grid, len(tasks), "no face was cut again")


def line(of_method: Sequence[Row], along: Along) -> dict[float, float]:
    """Scale or shift, rising -> the value, mean over seeds."""
    values: dict[float, list[float]] = {}
    for row in of_method:
        values.setdefault(row[along], []).append(row["value"])
    return {place: sum(values[place]) / len(values[place]) for place in sorted(values)}


def _task(row: Row) -> tuple[str, str, str]:
    return row["dataset"], row["task"], row["metric"]


def _finish(axes: Axes, row: Row, along: Along) -> None:
    axes.axvline(UNCHANGED[along], ls=":", lw=1.0, color=INK)
    axes.set_title(f"{row['dataset']} · {row['task']}", loc="left", fontsize=10, color=INK)
    axes.set_xlabel(LABELS[along], fontsize=9)
    axes.set_ylabel(scores.axis(row["metric"]), fontsize=8)
    tidy(axes, lines="y")
