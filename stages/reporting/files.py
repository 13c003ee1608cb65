"""The files of the report: tables, headlines as JSON, figures, curves as CSV, and the page."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.reporting import health, page
from stages.reporting.contents import LearningCurves, LossCurve, Point
from stages.reporting.results import by_method
from stages.runtime import tables


def write(out: Path, content: page.Content, figures: page.Figures) -> None:
    """Write all outputs of the stage `report` into the empty folder `out`."""
    report = page.render(content, figures)
    provenance = {
        "profile": content.params.profile,
        "config_hash": content.config_hash,
        "code_hash": content.code_hash,
        **content.versions,
    }
    rows = [*content.seed_rows, *content.rows]
    key = ["dataset", "task", "method", "seed", "split", "metric", "target"]
    tables.write(out / "metrics.parquet", tables.METRICS, rows, key=key, metadata=provenance)
    tables.write(out / "own_heads.parquet", tables.METRICS, content.own_heads, key=key, metadata=provenance)
    key = ["dataset", "task", "metric", "control", "method"]
    path = out / "differences.parquet"
    tables.write(path, tables.DIFFERENCES, content.differences, key=key, metadata=provenance)
    key = ["dataset", "task", "metric", "shots", "method"]
    tables.write(out / "few_shot.parquet", tables.FEW_SHOT_MEANS, content.few_shot, key=key, metadata=provenance)
    key = ["dataset", "task", "metric", "method", "seed", "scale", "shift"]
    path = out / "crop_sensitivity.parquet"
    tables.write(path, tables.CROP_SENSITIVITY, content.sensitivity, key=key, metadata=provenance)
    folder = _made(out / "metrics")
    for method, values in _headlines(content).items():
        (folder / f"{method}.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    for name in ("summary", "loss_curves", "learning_curves", "health"):
        (out / f"{name}.png").write_bytes(getattr(figures, name))
    for name, png in figures.crop.items():
        (out / f"{name}.png").write_bytes(png)
    folder = _made(out / "roc_pr")
    for name, png in figures.roc_pr.items():
        (folder / f"{name}.png").write_bytes(png)
    _write_curves(out, content.loss_curves, content.learning_curves)
    _write_health(out, content.health)
    (out / "report.html").write_text(report, encoding="utf-8")


def _write_curves(out: Path, losses: Sequence[LossCurve], learning: Sequence[LearningCurves]) -> None:
    """One CSV file per plot of DVC, with the lines of all methods."""
    lines = [line for method in dict.fromkeys(curve.method for curve in losses) for line in _losses(losses, method)]
    text = _csv([["method", "epoch", "train_loss", "val_loss"], *lines])
    (out / "loss_curves.csv").write_text(text, encoding="utf-8")
    folder = _made(out / "learning_curves")
    for task in learning:
        lines = [
            [method, task.metric, point.step, *(f"{value:.8g}" for value in point[1:])]
            for method, points in task.points.items()
            for point in points
        ]
        text = _csv([["method", "metric", *Point._fields], *lines])
        (folder / f"{task.dataset}-{task.task}.csv").write_text(text, encoding="utf-8")


def _write_health(out: Path, trainings: Sequence[health.Health]) -> None:
    """One CSV file for each measure that some training has."""
    folder = _made(out / "health")
    for measure in health.TITLES:
        points = health.curves(trainings, measure)
        if not points:
            continue
        lines = [[method, step, f"{value:.8g}"] for method, of_method in points.items() for step, value in of_method]
        (folder / f"{measure}.csv").write_text(_csv([["method", "step", "value"], *lines]), encoding="utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _headlines(content: page.Content) -> dict[str, dict[str, dict[str, float]]]:
    """Headline by method -> data set -> task, on the whole test split, mean over targets and seeds."""
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for task in content.tasks:
        for method, row in by_method(content.rows, task.dataset, task.task, task.metrics[0]).items():
            nested.setdefault(method, {}).setdefault(task.dataset, {})[task.task] = round(row["value"], 6)
    return nested


def _losses(curves: Sequence[LossCurve], method: str) -> Iterator[list[Any]]:
    """Method, epoch, training and validation loss; losses are means over the seeds that reached the epoch."""
    of_method = [curve for curve in curves if curve.method == method]
    for epoch in sorted({epoch for curve in of_method for epoch in curve.epochs}):
        reached = [(curve, list(curve.epochs).index(epoch)) for curve in of_method if epoch in curve.epochs]
        means = [np.mean([curve.losses[split][index] for curve, index in reached]) for split in ("train", "val")]
        yield [method, epoch, *(f"{mean:.8g}" for mean in means)]


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
