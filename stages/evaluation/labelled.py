"""Labelled images of one task: embedding, split and target of each, as a probe needs them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from fabnet.probe_head import Crops, Probe, Samples, Settings
from stages.evaluation.scores import Predictions
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import ProbeParams, TaskParams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TaskName:
    dataset: str
    name: str

    def __str__(self) -> str:
        return f"{self.dataset} {self.name}"

    def reject(self, rejects: tables.Rejects, key: str, kind: str, detail: str = "") -> None:
        """Add one item of the task to `rejects`."""
        rejects.add(self.dataset, f"{self.name}/{key}", kind, detail)


@dataclass(frozen=True)
class Task(TaskName):
    settings: TaskParams
    module: ModuleType  # of fabnet.probes


@dataclass(frozen=True)
class Images:
    """The usable images of one task, sorted by `sample_id`."""

    ids: NDArray[np.str_]  # (N,)
    subset: NDArray[np.str_]  # (N,) the owner's subset of the split, may be empty
    split: NDArray[np.str_]  # (N,) train, val or test
    x: Array  # (N, D) embeddings
    y: Array  # (N, K) targets as the probe is fitted to them
    crops: Crops

    def samples(self, split: str) -> Samples:
        """Embeddings and targets of one split."""
        rows = self.split == split
        return Samples(torch.from_numpy(self.x[rows]), torch.from_numpy(self.y[rows]))


def join(index: pa.Table, splits: pa.Table, embeddings: pa.Table) -> pa.Table:
    """The rows of the index that have both a split and an embedding, sorted by `sample_id`.

    Columns `split` and `embedding` are added. A row without one of them is a reject of `split` or `embed`.
    """
    split_of = dict(zip(splits["sample_id"].to_pylist(), splits["split"].to_pylist(), strict=True))
    row_of = {sample_id: row for row, sample_id in enumerate(embeddings["sample_id"].to_pylist())}
    index = index.sort_by("sample_id")
    kept = [
        row
        for row, sample_id in enumerate(index["sample_id"].to_pylist())
        if sample_id in split_of and sample_id in row_of
    ]
    index = index.take(kept)
    ids = index["sample_id"].to_pylist()
    embedding = embeddings["embedding"].take([row_of[sample_id] for sample_id in ids])
    split = pa.array([split_of[sample_id] for sample_id in ids], pa.string())
    return index.append_column("split", split).append_column("embedding", embedding)


def load(faces: Path, splits: Path, embeddings: Path, dataset: str) -> tuple[pa.Table, int]:
    """`join` of one data set's tables in those folders, and the steps that their encoder was trained for."""
    table = tables.read(embeddings / f"{dataset}.parquet", tables.EMBEDDINGS)
    index = tables.read(faces / dataset / "index.parquet")
    joined = join(index, tables.read(splits / f"{dataset}.parquet", tables.SPLITS), table)
    steps = (table.schema.metadata or {}).get(tables.STEPS.encode())
    if steps is None:
        raise UserError(f"{embeddings / dataset}.parquet does not say how long its encoder was trained: "
                        "run `dvc repro --force embed`")  # fmt: skip
    return joined, int(steps)


def usable(joined: pa.Table, task: Task, rejects: tables.Rejects) -> Images:
    """The images whose label the probe can use; the others are added to `rejects`.

    Raises:
        UserError: the index lacks the label, or no image has a usable one.
    """
    column, classes = task.settings.label, len(task.settings.classes)
    if column not in joined.column_names:
        raise UserError(
            f"dataset.{task.dataset}.tasks.{task.name}.label: the index of {task.dataset} has no column {column!r}"
        )
    problems = [task.module.problem(label, classes) for label in joined[column].to_pylist()]
    ids = joined["sample_id"].to_pylist()
    for sample_id, problem in zip(ids, problems, strict=True):
        if problem is not None:
            task.reject(rejects, sample_id, *problem)
    kept = joined.take([row for row, problem in enumerate(problems) if problem is None])
    if not len(kept):
        raise UserError(f"{task}: no image has a usable label, an embedding and a split; see the rejects tables")
    sizes = np.stack([kept["width_px"].to_numpy(), kept["height_px"].to_numpy()], axis=1).astype(np.float64)
    crops = Crops(sizes, np.array(kept["crop_xyxy_px"].to_pylist(), np.float64))
    return Images(
        ids=np.array(kept["sample_id"].to_pylist(), str),
        subset=np.array(kept["subset"].fill_null("").to_pylist(), str),
        split=np.array(kept["split"].to_pylist(), str),
        x=np.stack(kept["embedding"].to_numpy()).astype(np.float64),
        y=task.module.encode(np.array(kept[column].to_pylist()), crops, classes),
        crops=crops,
    )


def fit(images: Images, task: Task, params: ProbeParams) -> Probe:
    """The task's probe, from the training and the validation split.

    Raises:
        UserError: a split is empty.
    """
    counts = Counter(images.split.tolist())
    missing = [split for split in tables.SPLIT_NAMES if not counts[split]]
    if missing:
        raise UserError(f"{task}: no usable image in the split {missing[0]}; see the rejects tables and `split`")
    settings = Settings(params.l2, params.max_iter, params.neighbours)
    return task.module.fit(images.samples("train"), images.samples("val"), settings)


def predict(probe: Probe, images: Images, split: str, task: Task) -> Predictions:
    """Truth and prediction of every image of one split, in the units of the report, float32 as they are stored."""
    rows = images.split == split
    crops = images.crops[rows]
    raw = probe.predict(torch.from_numpy(images.x[rows])).numpy()
    truth, prediction = (task.module.decode(y, crops).astype(np.float32) for y in (images.y[rows], raw))
    return Predictions(truth.astype(np.float64), prediction.astype(np.float64), tuple(task.settings.classes))
