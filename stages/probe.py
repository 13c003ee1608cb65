"""Fit the probes of every still-image data set on one method's embeddings and score them on the test split.

Named parts of an embedding are probed by themselves as well.

Embeddings of face tracks are scored for identity leakage. Learning curves use the encoders saved during training, each
with its own probes, and only the validation split.

Reads: faces, face splits and embeddings of one method and seed.
Writes: metrics.parquet (tables.SCORES), predictions.parquet, sweeps.parquet, learning_curves.parquet, few_shot.parquet,
    own_heads.parquet (tables.SCORES of heads that came with the weights), parts.parquet (tables.PART_SCORES),
    part_differences.parquet, heads/<dataset>.<task>.safetensors and rejects.parquet.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from fabnet.probe_head import Probe
from stages.evaluation import collapse, few_shot, identities, labelled, own_heads, parts, scores, sweeps
from stages.evaluation.labelled import Images, Task, TaskName
from stages.evaluation.parts import Probed
from stages.evaluation.scores import Bootstrap, Predictions, Score
from stages.runtime import command, embedding_tables, outputs, tables
from stages.runtime.params import DatasetParams, ProbeParams

log = logging.getLogger(__name__)

CONSTANT = "constant-"  # folders of the control that gives all images the same embedding on purpose


@dataclass
class Findings:
    """Heads and rows of the tables, collected task by task and written at the end."""

    heads: dict[str, Probe] = field(default_factory=dict[str, Probe])  # dataset.task -> probe
    scores: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    own_scores: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])  # of heads that were not fitted here
    predictions: list[pa.Table] = field(default_factory=lambda: [tables.PREDICTIONS.empty_table()])
    sweeps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    learning_curves: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    few_shot: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    parts: Probed = field(default_factory=Probed)
    rejects: tables.Rejects = field(default_factory=lambda: tables.Rejects("probe"))


def run(
    *,
    embeddings: Path,
    faces: Path,
    splits: Path,
    out: Path,
    journal: Path = Path(".journal"),
    seed: int,
    face_sets: list[str],
    track_sets: list[str],
    followed: list[str],
    probe: ProbeParams,
    dataset: dict[str, DatasetParams],
) -> None:
    """Probe every task of every still-image data set, and the identities of every track data set.

    Raises:
        UserError: a split of a task has no usable image, an index lacks the task's label, or there is no such device.
    """
    outputs.forget(journal, "embed", embeddings.name)
    findings = Findings()
    device = labelled.device(probe.device)
    bootstrap = Bootstrap(probe.bootstrap, probe.confidence, seed)
    for name in sorted(face_sets):
        joined, steps = labelled.load(faces, splits, embeddings, name)
        named = parts.named(embeddings / f"{name}.parquet")
        if not embeddings.name.startswith(CONSTANT):
            _record_collapse(joined, name, findings)
        for task in labelled.tasks(name, dataset[name]):
            images = labelled.usable(joined, task, findings.rejects, device)
            fitted = labelled.fit(images, task, probe)
            _record_same_labels(images, task, findings)
            _record_sweep(fitted, task, probe, findings)
            _record_test(fitted, images, task, bootstrap, findings)
            _record_own_head(embeddings, images, task, bootstrap, findings)
            if name in followed:
                _record_validation(fitted, images, task, steps=steps, bootstrap=bootstrap, findings=findings)
            findings.heads[f"{name}.{task.name}"] = fitted
            findings.few_shot += few_shot.rows(images, task, probe, seed)
            findings.parts.add(parts.of_task(images, task, named, probe), task, task.settings.metrics, bootstrap)
    for folder in sorted((embeddings / "checkpoints").glob("*")):
        for name in followed:
            joined, steps = labelled.load(faces, splits, folder, name)
            for task in labelled.tasks(name, dataset[name]):
                images = labelled.usable(joined, task, findings.rejects, device)  # the same rejects as above
                fitted = labelled.fit(images, task, probe)
                _record_validation(fitted, images, task, steps=steps, bootstrap=bootstrap, findings=findings)
    for name in track_sets:
        _record_identities(embeddings, name, bootstrap, device, findings)
    with outputs.replaced(out) as whole:
        _write(whole, findings)


def _record_collapse(joined: pa.Table, dataset: str, findings: Findings) -> None:
    """Tell if the images of a data set get nearly the same embedding."""
    problem = collapse.problem(joined["embedding"])
    if problem:
        log.warning("warning: probe: the embedding of %s has collapsed: %s", dataset, problem)
        findings.rejects.add(dataset, "embedding", collapse.KIND, problem)


def _record_same_labels(images: Images, task: Task, findings: Findings) -> None:
    """Tell which splits have the same label on all images: nothing can be learnt, or be told apart, there."""
    for split in tables.SPLIT_NAMES:
        if only := labelled.only_label(images, split, task):
            log.warning("warning: probe: %s: all labels of the %s split are the same: %s", task, split, only)
            task.reject(findings.rejects, split, labelled.SAME_LABELS, only)


def _record_sweep(probe: Probe, task: Task, params: ProbeParams, findings: Findings) -> None:
    rows = sweeps.rows(probe, task)
    findings.sweeps += rows
    for row in rows:
        if row["is_chosen"]:
            log.info("%s: l2 %g, validation loss %.4f", task, row["l2"], row["val_loss"])
            if row["edge"]:
                log.info("%s: l2 %g is the %s of the sweep, a wider one may be better", task, row["l2"], row["edge"])
            if not row["is_converged"]:
                log.info("%s: the head did not converge in %d steps, raise probe.max_iter", task, params.max_iter)


def _record_test(probe: Probe, images: Images, task: Task, bootstrap: Bootstrap, findings: Findings) -> None:
    """Predict the test split once, and score it as a whole and by the owner's subsets, if there are several."""
    tested = labelled.predict(probe, images, "test", task)
    is_test = images.split == "test"
    subset = images.subset[is_test]
    keys = [
        images.ids.filter(pa.array(is_test)), images.group_ids.filter(pa.array(is_test)), pa.array(subset, pa.string()),
    ]  # fmt: skip
    _record_predictions(tested, keys, task, findings)
    for split, members in scores.splits(subset):
        for metric in task.settings.metrics:
            for score in scores.score(metric, [tested[members]], bootstrap):
                _record_score(score, split, task, findings)


def _record_own_head(embeddings: Path, images: Images, task: Task, bootstrap: Bootstrap, findings: Findings) -> None:
    """Score the head that came with the weights, if there is one for this task: on the test split as a whole."""
    tested = own_heads.predictions(embeddings, images, task, findings.rejects)
    if tested is None:
        return
    for metric in task.settings.metrics:
        for score in scores.score(metric, [tested], bootstrap):
            if not np.isnan(score.value):  # where it is, that of the fitted head is as well, and is a reject
                row = {"dataset": task.dataset, "task": task.name, "split": "test", **score.row}
                findings.own_scores.append(row)


def _record_validation(
    probe: Probe, images: Images, task: Task, *, steps: int, bootstrap: Bootstrap, findings: Findings
) -> None:
    """One point of the learning curve: the headline on the validation split after `steps` steps."""
    metric = task.settings.metrics[0]
    found = scores.whole(metric, [labelled.predict(probe, images, "val", task)], bootstrap)
    if found is None:
        task.reject(findings.rejects, f"val/{steps:08d}", f"{metric} is undefined", "on the validation split")
        return
    columns = {name: found.row[name] for name in ("metric", "value", "ci_low", "ci_high", "n", "groups")}
    row = {"dataset": task.dataset, "task": task.name, "step": steps, **columns}
    findings.learning_curves.append({**row, "is_converged": sweeps.is_converged(probe)})
    log.info("%s: after %d steps val %s %.4g", task, steps, metric, found.value)


def _record_identities(
    embeddings: Path, dataset: str, bootstrap: Bootstrap, device: torch.device, findings: Findings
) -> None:
    """Score how often the nearest frame of another video shows the same identity, if identities have several videos."""
    task = TaskName(dataset, scores.IDENTITY)
    path = embeddings / f"{dataset}.parquet"
    frames = embedding_tables.read(path, tables.TRACK_EMBEDDINGS)
    names, shares = identities.leakage(frames, device)
    if not names:
        detail = "the test split has one identity, or none with embedded frames of two videos"
        task.reject(findings.rejects, "test", "too few identities", detail)
        return
    _record_predictions(shares, [pa.array(names), pa.array(names), pa.repeat("", len(names))], task, findings)
    for score in scores.score(scores.IDENTITY, [shares], bootstrap):
        _record_score(score, "test", task, findings)
    findings.parts.add(parts.of_identities(frames, parts.named(path), device), task, [scores.IDENTITY], bootstrap)


def _record_predictions(tested: Predictions, keys: Sequence[Any], task: TaskName, findings: Findings) -> None:
    """Add the rows; `keys` are the columns sample_id, group_id and subset."""
    columns = {
        "dataset": pa.repeat(task.dataset, len(tested.truth)),
        "task": pa.repeat(task.name, len(tested.truth)),
        **dict(zip(("sample_id", "group_id", "subset"), keys, strict=True)),
        "truth": _lists(tested.truth),
        "prediction": _lists(tested.prediction),
    }
    findings.predictions.append(pa.table(columns, schema=tables.PREDICTIONS))


def _lists(values: NDArray[np.float64]) -> pa.Array:
    """A list of float32 for each row of (N, K)."""
    rows, length = values.shape
    offsets = pa.array(np.arange(rows + 1) * length, pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel().astype(np.float32)))


def _record_score(score: Score, split: str, task: TaskName, findings: Findings) -> None:
    if np.isnan(score.value):
        detail = "the images of the split are all of one class, or none is of this class"
        task.reject(findings.rejects, f"{split}/{score.target}", f"{score.metric} is undefined", detail)
        return
    findings.scores.append({"dataset": task.dataset, "task": task.name, "split": split, **score.row})
    if score.target == scores.MEAN:
        printed = scores.printed(score.row)
        log.info("%s: %s %s %s %s", task, split, score.metric, printed.value, printed.interval)
        if score.groups == 1:
            log.warning(
                "warning: probe: %s: %s %s has no interval, since %s", task, split, score.metric, _single(score)
            )


def _single(score: Score) -> str:
    """Why a score of a single group has no interval."""
    if score.n > 1:
        return f"its {score.n} images belong to one group"
    return "it is over one identity" if score.metric == scores.IDENTITY else "it is over one image"


def _write(out: Path, findings: Findings) -> None:
    (out / "heads").mkdir()
    for name, probe in findings.heads.items():
        if weights := probe.state():
            (out / "heads" / f"{name}.safetensors").write_bytes(save(weights))
    of_task = ["dataset", "task"]
    key = [*of_task, "split", "metric", "target"]
    tables.write(out / "metrics.parquet", tables.SCORES, findings.scores, key=key)
    tables.write(out / "own_heads.parquet", tables.SCORES, findings.own_scores, key=key)
    predictions = pa.concat_tables(findings.predictions)
    tables.write(out / "predictions.parquet", tables.PREDICTIONS, predictions, key=[*of_task, "sample_id"])
    tables.write(out / "sweeps.parquet", tables.SWEEPS, findings.sweeps, key=[*of_task, "l2"])
    tables.write(
        out / "learning_curves.parquet", tables.LEARNING_CURVES, findings.learning_curves, key=[*of_task, "step"]
    )
    key = [*of_task, "metric", "shots", "draw"]
    tables.write(out / "few_shot.parquet", tables.FEW_SHOT, findings.few_shot, key=key)
    key = [*of_task, "part", "split", "metric", "target"]
    tables.write(out / "parts.parquet", tables.PART_SCORES, findings.parts.scores, key=key)
    key = [*of_task, "part", "other"]
    tables.write(out / "part_differences.parquet", tables.PART_DIFFERENCES, findings.parts.differences, key=key)
    findings.rejects.write(out / "rejects.parquet")
    log.info("probe: %d scores, %d rejects", len(findings.scores), len(findings.rejects))


if __name__ == "__main__":
    command.main(run, __doc__)
