"""The files of the report: tables, headlines as JSON, figures, curves as CSV, and the page."""

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.evaluation import scores
from stages.reporting import page, results
from stages.reporting.contents import LearningCurves, LossCurve
from stages.runtime import tables


def write(out: Path, content: page.Content, figures: page.Figures) -> None:
    """Write all outputs of the stage `report`, once the page is ready."""
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
    key = ["dataset", "task", "metric", "control", "method"]
    path = out / "differences.parquet"
    tables.write(path, tables.DIFFERENCES, content.differences, key=key, metadata=provenance)
    folder = _empty(out / "metrics")
    for method, values in _headlines(content).items():
        (folder / f"{method}.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    for name in ("summary", "loss_curves", "learning_curves"):
        (out / f"{name}.png").write_bytes(getattr(figures, name))
    folder = _empty(out / "roc_pr")
    for name, png in figures.roc_pr.items():
        (folder / f"{name}.png").write_bytes(png)
    _write_curves(out, content.loss_curves, content.learning_curves)
    (out / "report.html").write_text(report, encoding="utf-8")


def _write_curves(out: Path, losses: Sequence[LossCurve], learning: Sequence[LearningCurves]) -> None:
    """One CSV file per line of a figure, for DVC's plots."""
    folder = _empty(out / "loss_curves")
    for method in sorted({curve.method for curve in losses}):
        text = _loss_csv([curve for curve in losses if curve.method == method])
        (folder / f"{method}.csv").write_text(text, encoding="utf-8")
    folder = _empty(out / "learning_curves")
    for panel in learning:
        untrained = panel.points.get(results.CONTROL, [(0, float("nan"))])[-1][1]
        for method, points in sorted(panel.points.items()):
            if points[-1][0] == 0:
                continue
            lines = [[step, f"{value:.8g}", f"{untrained:.8g}"] for step, value in points]
            text = _csv([["step", "value", "untrained"], *lines])
            (folder / f"{panel.dataset}-{panel.task}-{method}.csv").write_text(text, encoding="utf-8")


def _empty(folder: Path) -> Path:
    """The folder, emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _headlines(content: page.Content) -> dict[str, dict[str, dict[str, float]]]:
    """Headline by method -> data set -> task, on the whole test split, mean over targets and seeds."""
    keys = {(task.dataset, task.task, task.metrics[0], "test", scores.MEAN) for task in content.tasks}
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for row in content.rows:
        if tuple(row[name] for name in ("dataset", "task", "metric", "split", "target")) in keys:
            of_dataset = nested.setdefault(row["method"], {}).setdefault(row["dataset"], {})
            of_dataset[row["task"]] = round(row["value"], 6)
    return nested


def _loss_csv(losses: Sequence[LossCurve]) -> str:
    """epoch, train_loss, val_loss; losses are means over the seeds that reached the epoch."""
    lines: list[list[Any]] = [["epoch", "train_loss", "val_loss"]]
    for epoch in sorted({epoch for curve in losses for epoch in curve.epochs}):
        reached = [(curve, list(curve.epochs).index(epoch)) for curve in losses if epoch in curve.epochs]
        means = [np.mean([curve.losses[split][index] for curve, index in reached]) for split in ("train", "val")]
        lines.append([epoch, *(f"{mean:.8g}" for mean in means)])
    return _csv(lines)


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
