"""Collect the scores of every method and seed into one table, figures and a page.

Reads: probe results and how they depend on the crop, histories, splits, detection rates, how faces sit in the crops,
    contact sheets, figures, rejects of every stage.
Writes: metrics.parquet (tables.METRICS), differences.parquet (tables.DIFFERENCES), few_shot.parquet
    (tables.FEW_SHOT_MEANS), own_heads.parquet (tables.METRICS of heads that came with weights, which are in no other
    table), crop_sensitivity.parquet (tables.CROP_SENSITIVITY), metrics/<method>.json, report.html, summary.png,
    loss_curves.png, loss_curves.csv, learning_curves.png, learning_curves/<dataset>-<task>.csv, health.png,
    health/<measure>.csv, crop_scale.png, crop_shift.png and roc_pr/<dataset>-<task>.png.
None of these depends on the machine. Times and the commit are in machine.html, which is not an output of DVC.
"""

import importlib.metadata
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlib

from stages.evaluation import scores
from stages.reporting import (
    contents,
    crop_sensitivity,
    doubts,
    few_shot,
    files,
    framing,
    health,
    machine,
    page,
    parts,
    plots,
    results,
    revision,
    roc_pr,
)
from stages.reporting.results import Tested
from stages.runtime import command, config, outputs, stopwatch, tables
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


@dataclass(frozen=True)
class Folders:
    """Outputs of the stages before: a folder for each data set, or for each method and seed."""

    tracks: Path
    faces: Path
    splits: Path
    models: Path
    embeddings: Path
    metrics: Path
    sensitivity: Path
    sheets: Path
    framing: Path
    figures: Path


def run(
    *,
    tracks: Path,
    faces: Path,
    splits: Path,
    models: Path,
    embeddings: Path,
    metrics: Path,
    sensitivity: Path,
    sheets: Path,
    framing: Path,
    figures: Path,
    out: Path,
    timings: Path = stopwatch.FOLDER,
    params: Params,
) -> None:
    """Write the report; inputs that do not fit leave the last one as it is.

    Raises:
        UserError: the tables do not match the parameters.
    """
    folders = Folders(tracks, faces, splits, models, embeddings, metrics, sensitivity, sheets, framing, figures)
    content = collect(folders, params)
    instances = {*params.datasets, *(run.folder for run in results.expected_runs(params))}
    text = machine.render(stopwatch.kept(timings), instances, PACKAGES, ROOT)
    with outputs.filled(out) as whole:
        files.write(whole, content, _draw(content))
        (whole / machine.NAME).write_text(text, encoding="utf-8")
    rows, rejects = len(content.seed_rows) + len(content.rows), sum(row["count"] for row in content.rejects)
    log.info("report: %d rows, %d rejects in all stages; open %s", rows, rejects, out / "report.html")


def collect(inputs: Folders, params: Params) -> page.Content:
    """Everything that the report shows.

    Raises:
        UserError: the tables do not match the parameters.
    """
    results.check(inputs.metrics, params)
    runs = results.expected_runs(params)
    tasks = results.tested(inputs.metrics, params)
    hashes = {"config_hash": config.digest(params), "code_hash": revision.code_hash(ROOT)}
    source = {"profile": params.profile, **hashes}
    pooled = list(results.pooled_rows(tasks, params))
    of_run = (inputs.models, inputs.embeddings, inputs.metrics, inputs.sensitivity)
    folders = [
        *(inputs.tracks / dataset for dataset in params.track_sets),
        *(inputs.faces / dataset for dataset in params.face_sets),
        *(inputs.splits / kind for kind in ("tracks", "faces")),
        *(folder / run.folder for folder in of_run for run in runs),
        inputs.framing,
        inputs.figures,
    ]
    return page.Content(
        params=params,
        **hashes,
        rows=[_complete(row, source) for row in pooled],
        seed_rows=[_complete(row, source) for row in results.seed_rows(inputs.metrics, params)],
        tasks=tasks,
        own_heads=[_own_head(row, source, params) for row in results.own_head_rows(inputs.metrics, params)],
        differences=[{**row, **hashes} for row in results.differences(tasks, params)],
        sensitivity=[{**row, **source} for row in crop_sensitivity.rows(inputs.sensitivity, runs)],
        leads=list(results.leads(tasks, pooled, params)),
        counts=[
            *contents.counts(inputs.splits / "tracks", "face tracks", params.track_sets),
            *contents.counts(inputs.splits / "faces", "still images", params.face_sets),
        ],
        copies=tables.read(inputs.splits / "faces" / "copies.parquet", tables.COPIES).to_pylist(),
        probe_rejects=doubts.probe_rejects(inputs.metrics, runs),
        yields=list(contents.yields(inputs.faces, params.detected_sets)),
        framing=framing.rows(inputs.framing, params.datasets),
        sheets=list(contents.sheets(inputs.sheets, params.datasets)),
        rejects=contents.rejects(folders),
        sweeps=contents.sweeps(inputs.metrics, runs),
        few_shot=[{**row, **hashes} for row in few_shot.means(inputs.metrics, params)],
        parts=parts.rows(inputs.metrics, runs),
        part_differences=parts.differences(inputs.metrics, runs),
        further_probes=contents.further_probes(inputs.metrics, runs),
        loss_curves=contents.loss_curves(inputs.models, runs),
        learning_curves=contents.learning_curves(inputs.metrics, runs),
        health=health.read(inputs.models, runs),
        illustrations=contents.illustrations(inputs.figures / "images"),
        versions=_versions(),
    )


def _complete(row: Row, source: Mapping[str, str]) -> Row:
    """A METRICS row: scores with their source and the published value."""
    key = tuple(row[name] for name in ("method", "dataset", "task", "split", "target", "metric"))
    return {**row, **source, "published": PUBLISHED.get(key) if source["profile"] == "paper" else None}


def _own_head(row: Row, source: Mapping[str, str], params: Params) -> Row:
    """A METRICS row of a head that came with weights; on real faces with what was published for FAb-Net."""
    is_real = params.dataset[row["dataset"]].fetch.source != "synthetic"
    key = ("fabnet", *(row[name] for name in ("dataset", "task", "split", "target", "metric")))
    return {**row, **source, "published": PUBLISHED.get(key) if is_real else None}


def _draw(content: page.Content) -> page.Figures:
    methods = content.params.methods
    class_curves = {
        f"{task.dataset}-{task.task}": results.class_curves(task, roc_pr.shown(methods)) for task in content.tasks
    }
    return page.Figures(
        summary=plots.summary(list(_panels(content.tasks, content.rows)), methods),
        loss_curves=plots.loss_curves(content.loss_curves, methods),
        learning_curves=plots.learning_curves(content.learning_curves, methods),
        health=health.draw(content.health, methods),
        crop={
            "crop_scale": crop_sensitivity.draw(content.sensitivity, methods, "scale"),
            "crop_shift": crop_sensitivity.draw(content.sensitivity, methods, "shift"),
        },
        roc_pr={name: roc_pr.draw(classes, methods) for name, classes in class_curves.items() if classes},
    )


def _panels(tasks: Sequence[Tested], rows: Sequence[page.Row]) -> Iterator[plots.Panel]:
    """The headline metric of every task, for every method."""
    for task in tasks:
        metric = task.metrics[0]
        of_task = results.by_method(rows, task.dataset, task.task, metric).values()
        bars = [plots.Bar(row["method"], row["value"], row["ci_low"], row["ci_high"]) for row in of_task]
        published = next((row["published"] for row in of_task if row["published"] is not None), None)
        traits = scores.METRICS[metric]
        yield plots.Panel(page.title(task), scores.axis(metric), traits.decimals, bars, published, traits.chance)


def _versions() -> dict[str, str]:
    """The packages that can change a number, without a label such as `+cpu` for where they were built."""
    found = {name: importlib.metadata.version(name).split("+")[0] for name in PACKAGES}
    return found | {"dlib": dlib.__version__}  # of either distribution, dlib or dlib-bin


if __name__ == "__main__":
    command.main(run, __doc__)
