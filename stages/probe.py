"""Fit the probes of every still-image data set on one method's embeddings and score them on the test part.

Reads: faces, face splits and embeddings of one method and seed.
Writes: metrics.parquet (tables.SCORES), predictions.parquet, sweeps.parquet, heads/<dataset>.<task>.safetensors
    and, last, rejects.parquet.
Params: seed, detected, boxed, probe, dataset.
"""

import logging
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from fabnet.probe_head import Crops, Probe, Samples, Settings
from stages import command, config, plugins, scores, tables
from stages.errors import UserError
from stages.scores import Bootstrap, Predictions, Score

log = logging.getLogger(__name__)

SECTIONS = {"seed": "seed", "detected": "detected", "boxed": "boxed", "params": "probe", "settings": "dataset"}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    dataset: str
    name: str
    settings: config.TaskParams
    module: ModuleType  # of fabnet.probes

    def __str__(self) -> str:
        return f"{self.dataset} {self.name}"


@dataclass(frozen=True)
class Images:
    """The usable images of one task, sorted by `sample_id`."""

    ids: NDArray[np.str_]  # (N,)
    subset: NDArray[np.str_]  # (N,) the owner's subset of the part, may be empty
    part: NDArray[np.str_]  # (N,) train, val or test
    x: Array  # (N, D) embeddings
    y: Array  # (N, K) targets as the probe is fitted to them
    crops: Crops


@dataclass
class Findings:
    """Heads and rows of the tables, gathered task by task and written when all are there."""

    heads: dict[str, Probe] = field(default_factory=dict[str, Probe])  # dataset.task -> probe
    scores: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    predictions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sweeps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    rejects: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


def run(
    *,
    embeddings: Path,
    faces: Path,
    splits: Path,
    out: Path,
    seed: int,
    detected: list[str],
    boxed: list[str],
    params: config.ProbeParams,
    settings: dict[str, config.DatasetParams],
) -> None:
    """Probe every task of every still-image data set.

    Raises:
        UserError: a part of a task has no usable image, or an index lacks the task's label.
    """
    findings = Findings()
    for dataset in sorted([*detected, *boxed]):
        joined = join(
            tables.read(faces / dataset / "index.parquet"),
            tables.read(splits / f"{dataset}.parquet", tables.SPLITS),
            tables.read(embeddings / f"{dataset}.parquet", tables.EMBEDDINGS),
        )
        for name, task_params in sorted(settings[dataset].tasks.items()):
            task = Task(dataset, name, task_params, plugins.load("fabnet.probes", task_params.probe))
            images = _usable(joined, task, findings)
            probe = _fit(images, task, params)
            _record_sweep(probe, task, params, findings)
            _record_test(probe, images, task, Bootstrap(params.bootstrap, params.confidence, seed), findings)
            findings.heads[f"{dataset}.{name}"] = probe
    _write(out, findings)


def join(index: pa.Table, splits: pa.Table, embeddings: pa.Table) -> pa.Table:
    """The rows of the index that have both a split and an embedding, sorted by `sample_id`.

    Columns `split` and `embedding` are added. A row that lacks one of them stands in the rejects of the stage that
    gave it none.
    """
    split_of = dict(zip(splits["sample_id"].to_pylist(), splits["part"].to_pylist(), strict=True))
    row_of = {sample_id: row for row, sample_id in enumerate(embeddings["sample_id"].to_pylist())}
    index = index.sort_by("sample_id")
    kept = [
        row
        for row, sample_id in enumerate(index["sample_id"].to_pylist())
        if sample_id in split_of and sample_id in row_of
    ]
    index = index.take(kept)
    ids = index["sample_id"].to_pylist()
    found = embeddings["embedding"].take([row_of[sample_id] for sample_id in ids])
    split = pa.array([split_of[sample_id] for sample_id in ids], pa.string())
    return index.append_column("split", split).append_column("embedding", found)


def _usable(joined: pa.Table, task: Task, findings: Findings) -> Images:
    """The images whose label the probe can use; the others become rejects."""
    column, classes = task.settings.label, len(task.settings.classes)
    if column not in joined.column_names:
        raise UserError(
            f"dataset.{task.dataset}.tasks.{task.name}.label: the index of {task.dataset} has no column {column!r}"
        )
    problems = [task.module.problem(label, classes) for label in joined[column].to_pylist()]
    ids = joined["sample_id"].to_pylist()
    findings.rejects += [
        _reject(task, f"{task.name}/{sample_id}", problem)
        for sample_id, problem in zip(ids, problems, strict=True)
        if problem is not None
    ]
    kept = joined.take([row for row, problem in enumerate(problems) if problem is None])
    if not len(kept):
        raise UserError(f"{task}: no image has a usable label, an embedding and a split; see the rejects tables")
    sizes = np.stack([kept["width_px"].to_numpy(), kept["height_px"].to_numpy()], axis=1).astype(np.float64)
    crops = Crops(sizes, np.array(kept["crop_xyxy_px"].to_pylist(), np.float64))
    return Images(
        ids=np.array(kept["sample_id"].to_pylist(), str),
        subset=np.array(kept["subset"].fill_null("").to_pylist(), str),
        part=np.array(kept["split"].to_pylist(), str),
        x=np.stack(kept["embedding"].to_numpy()).astype(np.float64),
        y=task.module.encode(np.array(kept[column].to_pylist()), crops, classes),
        crops=crops,
    )


def _fit(images: Images, task: Task, params: config.ProbeParams) -> Probe:
    counts = Counter(images.part.tolist())
    missing = [part for part in ("train", "val", "test") if not counts[part]]
    if missing:
        raise UserError(f"{task}: no usable image in the part {missing[0]}; see the rejects tables and `split`")
    train, val = (_samples(images, images.part == part) for part in ("train", "val"))
    return task.module.fit(train, val, Settings(params.l2, params.max_iter))


def _samples(images: Images, chosen: NDArray[np.bool_]) -> Samples:
    return Samples(torch.from_numpy(images.x[chosen]), torch.from_numpy(images.y[chosen]))


def _record_sweep(probe: Probe, task: Task, params: config.ProbeParams, findings: Findings) -> None:
    findings.sweeps += [
        {"dataset": task.dataset, "task": task.name, "l2": l2, "val_loss": loss, "is_chosen": l2 == probe.l2}
        for l2, loss in probe.val_losses.items()
    ]
    log.info("%s: l2 %g, validation loss %.4f", task, probe.l2, probe.val_losses[probe.l2])
    if len(params.l2) > 1 and probe.l2 in (min(params.l2), max(params.l2)):
        log.info("%s: l2 %g is the end of the sweep, a wider one may be better", task, probe.l2)


def _record_test(probe: Probe, images: Images, task: Task, bootstrap: Bootstrap, findings: Findings) -> None:
    """Predict the test part, once, and score it: as a whole, and by the owner's subsets where there are several."""
    chosen = images.part == "test"
    crops = images.crops[chosen]
    raw = probe.predict(torch.from_numpy(images.x[chosen])).numpy()
    truth = task.module.decode(images.y[chosen], crops).astype(np.float32)
    prediction = task.module.decode(raw, crops).astype(np.float32)
    ids, subset = images.ids[chosen].tolist(), images.subset[chosen]
    for row in zip(ids, subset.tolist(), truth, prediction, strict=True):
        named = dict(zip(("sample_id", "subset", "truth", "prediction"), row, strict=True))
        findings.predictions.append({"dataset": task.dataset, "task": task.name, **named})
    tested = Predictions(truth.astype(np.float64), prediction.astype(np.float64), tuple(task.settings.classes))
    for part, members in scores.parts(subset):
        for metric in task.settings.metrics:
            for score in scores.score(metric, [tested[members]], bootstrap):
                _record_score(score, part, task, findings)


def _record_score(score: Score, part: str, task: Task, findings: Findings) -> None:
    if np.isnan(score.value):
        reason = f"{score.metric} is undefined: the images of the part are all of this class, or none is"
        findings.rejects.append(_reject(task, f"{task.name}/{part}/{score.target}", reason))
        return
    findings.scores.append({"dataset": task.dataset, "task": task.name, "part": part, **asdict(score)})
    if score.target == scores.MEAN:
        log.info("%s: %s %s %.4g [%.4g, %.4g]", task, part, score.metric, score.value, score.ci_low, score.ci_high)


def _reject(task: Task, key: str, reason: str) -> dict[str, str]:
    return {"dataset": task.dataset, "key": key, "stage": "probe", "reason": reason}


def _write(out: Path, findings: Findings) -> None:
    (out / "heads").mkdir(parents=True, exist_ok=True)
    for name, probe in findings.heads.items():
        save_file(probe.state(), out / "heads" / f"{name}.safetensors")
    of_task = ["dataset", "task"]
    tables.write(out / "metrics.parquet", tables.SCORES, findings.scores, key=[*of_task, "part", "metric", "target"])
    tables.write(out / "predictions.parquet", tables.PREDICTIONS, findings.predictions, key=[*of_task, "sample_id"])
    tables.write(out / "sweeps.parquet", tables.SWEEPS, findings.sweeps, key=[*of_task, "l2"])
    tables.write_rejects(out / "rejects.parquet", findings.rejects)
    log.info("probe: %d scores, %d rejects", len(findings.scores), len(findings.rejects))


if __name__ == "__main__":
    command.main(run, SECTIONS, __doc__)
