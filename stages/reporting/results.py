"""Probe results of all configured runs; missing or stale ones are an error, those of other runs are not read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fabnet import metrics
from stages.evaluation import columns, scores
from stages.evaluation.scores import Array, Bootstrap, Predictions
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import Params

CONTROL = "random"  # the untrained encoder
CONTROLS = (CONTROL, "fabnet")  # every method is compared with each of these in pairs

LEVELS = np.linspace(0, 1, 201)  # false positive rates of ROC curves, and recalls of precision-recall curves


@dataclass(frozen=True)
class Run:
    """One method with one seed."""

    method: str
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.method}-{self.seed}"


@dataclass(frozen=True)
class Tested:
    """Predictions for the test images of one task by every run, the same images in the same order."""

    dataset: str
    task: str
    metrics: Sequence[str]  # the first one is the headline
    classes: Sequence[str]  # in the order in which they are shown
    subset: NDArray[np.str_]  # (N,)
    of_run: dict[Run, Predictions]

    def of_method(self, method: str) -> list[Predictions]:
        """One element per seed."""
        return [predictions for run, predictions in self.of_run.items() if run.method == method]


@dataclass(frozen=True)
class ClassCurves:
    """ROC and precision-recall of one class against the rest, at LEVELS, mean over seeds; NaN where undefined."""

    name: str
    share: float  # of the test images: the precision at chance level
    roc: Mapping[str, Array]  # method -> true positive rate at each false positive rate
    precision: Mapping[str, Array]  # method -> precision at each recall


def expected_runs(params: Params) -> list[Run]:
    """Every method with every seed, methods in the order of the parameters."""
    return [Run(method, seed) for method in params.methods for seed in sorted(params.seeds)]


def identity_tasks(params: Params) -> list[tuple[str, str]]:
    """Track data sets with their task, which is optional: a test split may have no identity with two videos."""
    return [(dataset, scores.IDENTITY) for dataset in sorted(params.track_sets)]


def check(metrics: Path, params: Params) -> None:
    """Make sure that `metrics` holds the runs of the parameters; results of other methods and seeds may lie beside.

    Raises:
        UserError: a table is missing or stale, or lacks a task.
    """
    for run in expected_runs(params):
        check_run(metrics / run.folder, params)


def check_run(metrics: Path, params: Params) -> None:
    """Make sure that the folder `metrics` of one run holds the tasks of the parameters and no others.

    Raises:
        UserError: its table is missing or stale, or lacks a task.
    """
    tasks = {(dataset, task) for dataset in params.face_sets for task in params.dataset[dataset].tasks}
    table = tables.read(metrics / "metrics.parquet", tables.SCORES)
    predicted = tables.read(metrics / "predictions.parquet", tables.columns(tables.PREDICTIONS, ["dataset", "task"]))
    in_table = {
        pair
        for of in (table, predicted)
        for pair in zip(of["dataset"].to_pylist(), of["task"].to_pylist(), strict=True)
    }  # a task of which no metric is defined has predictions alone
    for dataset, task in sorted(tasks ^ (in_table - set(identity_tasks(params)))):
        state = "has no rows" if (dataset, task) in tasks else "has rows of a task that is not configured"
        raise UserError(f"{metrics} {state}: {dataset} {task}; run `dvc repro --force probe`")


def seed_rows(metrics: Path, params: Params) -> Iterator[dict[str, Any]]:
    """The rows that `probe` wrote, each with its method and seed."""
    for run in expected_runs(params):
        for row in tables.read(metrics / run.folder / "metrics.parquet", tables.SCORES).to_pylist():
            yield {"method": run.method, "seed": run.seed, **row}


def own_head_rows(metrics: Path, params: Params) -> Iterator[dict[str, Any]]:
    """The rows of heads that came with weights: as `probe` wrote them, each with its method and seed."""
    for run in expected_runs(params):
        for row in tables.read(metrics / run.folder / "own_heads.parquet", tables.SCORES).to_pylist():
            yield {"method": run.method, "seed": run.seed, **row}


def tested(metrics: Path, params: Params) -> list[Tested]:
    """The test predictions of every task; images that some run could not embed are left out for all."""
    of_run = {
        run: tables.read(metrics / run.folder / "predictions.parquet", tables.PREDICTIONS)
        for run in expected_runs(params)
    }
    of_faces: list[Tested] = []
    for dataset in params.face_sets:
        for task, settings in sorted(params.dataset[dataset].tasks.items()):
            joined = _joined(of_run, dataset, task, settings.metrics, settings.classes)
            if joined is None:
                raise UserError(f"{dataset} {task}: no test image was embedded by every method; see the rejects tables")
            of_faces.append(joined)
    of_tracks = [_joined(of_run, *task, [scores.IDENTITY], []) for task in identity_tasks(params)]
    return of_faces + [task for task in of_tracks if task is not None]


def _joined(
    of_run: Mapping[Run, pa.Table], dataset: str, task: str, metrics: Sequence[str], classes: Sequence[str]
) -> Tested | None:
    """The task's predictions for the images that all runs have; None if there are none."""
    of_task = {run: _of_task(table, dataset, task) for run, table in of_run.items()}
    shared = set.intersection(*(set(table["sample_id"].to_pylist()) for table in of_task.values()))
    if not shared:
        return None
    is_shared = pc.field("sample_id").isin(sorted(shared))
    kept = {run: table.filter(is_shared) for run, table in of_task.items()}
    subset = np.array(next(iter(kept.values()))["subset"].to_pylist(), str)
    predictions = {run: _predictions(table, classes) for run, table in kept.items()}
    return Tested(dataset, task, metrics, classes, subset, predictions)


def pooled_rows(tasks: Sequence[Tested], params: Params) -> Iterator[dict[str, Any]]:
    """Rows averaged over seeds (`seed` is null), for every method, split, metric and target that is defined."""
    for task in tasks:
        for method in params.methods:
            runs = task.of_method(method)
            for split, members in scores.splits(task.subset):
                for metric in task.metrics:
                    for score in scores.score(metric, [run[members] for run in runs], bootstrap(params)):
                        if not np.isnan(score.value):
                            of = {"dataset": task.dataset, "task": task.task, "split": split}
                            yield {"method": method, "seed": None, **of, **score.row}


def by_method(
    pooled: Sequence[Mapping[str, Any]],
    dataset: str,
    task: str,
    metric: str,
    *,
    split: str = "test",
    target: str = scores.MEAN,
) -> dict[str, Mapping[str, Any]]:
    """The row of each method in one metric of one task: of the whole task on the whole test split, if nothing is said.

    Args:
        pooled: rows as of `pooled_rows`, in whose order the methods are.
        dataset: name of the data set.
        task: name of the task.
        metric: a key of `scores.METRICS`.
        split: `test`, or a subset of it as `test/<subset>`.
        target: a class, an angle, a region, or the whole task.
    """
    key = (dataset, task, metric, split, target)
    names = ("dataset", "task", "metric", "split", "target")
    return {row["method"]: row for row in pooled if tuple(row[name] for name in names) == key}


def differences(tasks: Sequence[Tested], params: Params) -> Iterator[dict[str, Any]]:
    """Every task's headline minus that of each control that is compared, for every other method."""
    for control in (name for name in CONTROLS if name in params.methods):
        for method in (name for name in params.methods if name != control):
            for task in tasks:
                yield from _difference(task, task.metrics[0], method, control, params)


def leads(tasks: Sequence[Tested], pooled: Sequence[Mapping[str, Any]], params: Params) -> Iterator[dict[str, Any]]:
    """The best method minus every other one, for every metric of every task.

    Args:
        tasks: the predictions.
        pooled: the rows of `pooled_rows`, which say which method is best.
        params: the parameters.
    """
    for task in tasks:
        for metric in task.metrics:
            rows = by_method(pooled, task.dataset, task.task, metric)
            value_of = {method: row["value"] for method, row in rows.items()}
            choose = max if scores.METRICS[metric].higher_is_better else min
            best = choose(value_of, key=lambda method: value_of[method], default="")
            for other in value_of:
                if other != best:
                    yield from _difference(task, metric, best, other, params)


def _difference(task: Tested, metric: str, method: str, control: str, params: Params) -> Iterator[dict[str, Any]]:
    """The difference as a row; none where it is undefined."""
    score = scores.compare(metric, task.of_method(method), task.of_method(control), bootstrap(params))
    if score is not None:
        of = {"method": method, "control": control, "dataset": task.dataset, "task": task.task}
        yield {**of, **score.row}


def class_curves(task: Tested, methods: Sequence[str]) -> list[ClassCurves]:
    """The curves of `methods` for each class; empty for a task without AUC."""
    if "auc" not in task.metrics:
        return []
    classes = next(iter(task.of_run.values())).classes
    return [_class_curves(task, column, name, methods) for column, name in enumerate(classes)]


def _class_curves(task: Tested, column: int, name: str, methods: Sequence[str]) -> ClassCurves:
    images = next(iter(task.of_run.values()))
    known = images.known(column)
    is_positive = images.truth[known, column] > 0.5

    def mean(curve: Callable[..., Array], method: str) -> Array:
        scores = [run.prediction[known, column] for run in task.of_method(method)]
        return np.mean([curve(is_positive, of_run, LEVELS) for of_run in scores], axis=0)

    return ClassCurves(
        name,
        float(is_positive.mean()) if len(is_positive) else 0.0,
        {method: mean(metrics.roc, method) for method in methods},
        {method: mean(metrics.precision_recall, method) for method in methods},
    )


def bootstrap(params: Params) -> Bootstrap:
    return Bootstrap(params.probe.bootstrap, params.probe.confidence, params.seed)


def _of_task(table: pa.Table, dataset: str, task: str) -> pa.Table:
    return table.filter((pc.field("dataset") == dataset) & (pc.field("task") == task)).sort_by("sample_id")


def _predictions(table: pa.Table, classes: Sequence[str]) -> Predictions:
    truth, prediction = (np.array(table[name].to_pylist(), np.float64) for name in ("truth", "prediction"))
    return Predictions(truth, prediction, tuple(classes), columns.codes(table["group_id"]))
