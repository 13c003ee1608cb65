"""Collect the scores of every method and seed into one table, figures and a page.

Reads: probe results, histories, splits, detection rates, contact sheets, figures, rejects of every stage.
Writes: metrics.parquet (tables.METRICS), differences.parquet (tables.DIFFERENCES), metrics.json, report.html,
    summary.png, loss_curves.png, learning_curves.png, roc_pr/<dataset>-<task>.png, loss_curves/<method>.csv per trained
    method and learning_curves/<dataset>-<task>-<method>.csv.
None of these depends on the machine. Times and the commit are in machine.html, which is not an output of DVC.
"""

import csv
import importlib.metadata
import io
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from stages.evaluation import scores
from stages.reporting import contents, machine, page, plots, results, revision, roc_pr
from stages.reporting.contents import LearningCurves, LossCurve
from stages.reporting.results import Tested
from stages.runtime import command, config, stopwatch, tables
from stages.runtime.params import Params

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]  # of the code

# Published values for rows of the profile `paper`: (method, dataset, task, split, target, metric). The 76.4 of
# AffectNet is left out: its source does not name the metric.
PUBLISHED = {
    ("fabnet", "aflw", "pose", "test", scores.MEAN, "angle_error_deg"): 7.65,
    ("fabnet", "mafl", "landmarks", "test", scores.MEAN, "interocular_percent"): 3.44,
    ("fabnet", "w300", "landmarks", "test", scores.MEAN, "interocular_percent"): 5.71,
}

PACKAGES = ("matplotlib", "numpy", "opencv-python", "pyarrow", "scipy", "torch")

Row = dict[str, Any]


def run(
    *,
    tracks: Path,
    faces: Path,
    splits: Path,
    models: Path,
    embeddings: Path,
    metrics: Path,
    sheets: Path,
    figures: Path,
    out: Path,
    timings: Path = stopwatch.FOLDER,
    params: Params,
) -> None:
    """Write the report; on an error nothing is written.

    Raises:
        UserError: the tables do not match the parameters.
    """
    results.check(metrics, params)
    runs = results.expected_runs(params)
    tasks = results.tested(metrics, params)
    source = {
        "profile": params.profile,
        "config_hash": config.digest(params),
        "code_hash": revision.code_hash(ROOT),
    }
    pooled = [_complete(row, source) for row in results.pooled_rows(tasks, params)]
    of_seeds = [_complete(row, source) for row in results.seed_rows(metrics, params)]
    rows = of_seeds + pooled
    loss_curves = contents.loss_curves(models, runs)
    learning_curves = contents.learning_curves(metrics, runs)
    compared = [{**row, **_without_profile(source)} for row in results.differences(tasks, params)]
    folders = [
        *(tracks / dataset for dataset in params.track_sets),
        *(faces / dataset for dataset in params.face_sets),
        *(splits / kind for kind in ("tracks", "faces")),
        *(folder / run.folder for folder in (models, embeddings, metrics) for run in runs),
        figures,
    ]
    versions = _versions()
    content = page.Content(
        params=params,
        config_hash=source["config_hash"],
        code_hash=source["code_hash"],
        rows=pooled,
        seed_rows=of_seeds,
        tasks=tasks,
        differences=compared,
        counts=[
            *contents.counts(splits / "tracks", "face tracks", params.track_sets),
            *contents.counts(splits / "faces", "still images", params.face_sets),
        ],
        yields=list(contents.yields(faces, params.detected_sets)),
        sheets=list(contents.sheets(sheets, params.datasets)),
        rejects=contents.rejects(folders),
        sweeps=contents.sweeps(metrics, runs),
        versions=versions,
        summary_png=plots.summary(list(_panels(tasks, pooled)), params.methods),
        loss_curves_png=plots.loss_curves(loss_curves, params.methods),
        learning_curves_png=plots.learning_curves(learning_curves, params.methods),
        roc_pr_png={
            f"{task.dataset}-{task.task}": roc_pr.draw(classes, params.methods)
            for task in tasks
            if (classes := results.class_curves(task, roc_pr.shown(params.methods)))
        },
        figures=contents.figures(figures / "images"),
    )
    _write(out, rows, content, {**source, **versions})
    _write_curves(out, loss_curves, learning_curves)
    instances = {*params.datasets, *(run.folder for run in runs)}
    text = machine.render(stopwatch.kept(timings), instances, PACKAGES, ROOT)
    (out / machine.NAME).write_text(text, encoding="utf-8")
    count = sum(row["count"] for row in content.rejects)
    log.info("report: %d rows, %d rejects in all stages; open %s", len(rows), count, out / "report.html")


def _complete(row: Row, source: Mapping[str, str]) -> Row:
    """A METRICS row: scores with their source and the published value."""
    key = tuple(row[name] for name in ("method", "dataset", "task", "split", "target", "metric"))
    return {**row, **source, "published": PUBLISHED.get(key) if source["profile"] == "paper" else None}


def _without_profile(source: Mapping[str, str]) -> Row:
    return {name: source[name] for name in ("config_hash", "code_hash")}


def _panels(tasks: Sequence[Tested], rows: Sequence[Row]) -> Iterator[plots.Panel]:
    """The headline metric of every task, for every method."""
    for task in tasks:
        metric = task.metrics[0]
        key = (task.dataset, task.task, metric, "test", scores.MEAN)
        of_task = [
            row for row in rows if tuple(row[n] for n in ("dataset", "task", "metric", "split", "target")) == key
        ]
        bars = [plots.Bar(row["method"], row["value"], row["ci_low"], row["ci_high"]) for row in of_task]
        published = next((row["published"] for row in of_task if row["published"] is not None), None)
        traits = scores.METRICS[metric]
        yield plots.Panel(page.title(task), scores.axis(metric), traits.decimals, bars, published, traits.chance)


def _write(out: Path, rows: Sequence[Row], content: page.Content, provenance: Mapping[str, str]) -> None:
    key = ["dataset", "task", "method", "seed", "split", "metric", "target"]
    tables.write(out / "metrics.parquet", tables.METRICS, rows, key=key, metadata=provenance)
    key = ["dataset", "task", "metric", "control", "method"]
    path = out / "differences.parquet"
    tables.write(path, tables.DIFFERENCES, content.differences, key=key, metadata=provenance)
    detection = {"detection": _yields(content.yields)} if content.yields else {}
    (out / "metrics.json").write_text(
        json.dumps(_headlines(content.rows) | detection, indent=2) + "\n", encoding="utf-8"
    )
    (out / "summary.png").write_bytes(content.summary_png)
    (out / "loss_curves.png").write_bytes(content.loss_curves_png)
    (out / "learning_curves.png").write_bytes(content.learning_curves_png)
    folder = _empty(out / "roc_pr")
    for name, png in content.roc_pr_png.items():
        (folder / f"{name}.png").write_bytes(png)
    (out / "report.html").write_text(page.render(content), encoding="utf-8")


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


def _headlines(rows: Sequence[page.Row]) -> Row:
    """Values by method -> data set -> task -> metric, on the whole test split, mean over seeds."""
    nested: Row = {}
    for row in rows:
        if row["split"] == "test" and row["target"] == scores.MEAN:
            of_task = nested.setdefault(row["method"], {}).setdefault(row["dataset"], {}).setdefault(row["task"], {})
            of_task[row["metric"]] = round(row["value"], 6)
    return nested


def _yields(rows: Sequence[page.Row]) -> Row:
    """Share of images whose face was detected, by data set -> split; `all` if the owner has no splits."""
    nested: Row = {}
    for row in rows:
        nested.setdefault(row["dataset"], {})[row["owner_split"] or "all"] = round(row["share"], 6)
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


def _versions() -> dict[str, str]:
    """The packages that can change a number, without a label such as `+cpu` for where they were built."""
    found = {name: importlib.metadata.version(name).split("+")[0] for name in PACKAGES}
    return found | {"dlib": dlib.__version__}  # of either distribution, dlib or dlib-bin


if __name__ == "__main__":
    command.main(run, __doc__)
