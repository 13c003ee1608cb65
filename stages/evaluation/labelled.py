"""Labelled images of one task: embedding, split and target of each, as a probe needs them."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from fabnet.modules import devices
from fabnet.probe_head import Crops, Probe, Samples, Settings
from stages.evaluation import columns
from stages.evaluation.scores import Predictions
from stages.runtime import embedding_tables, plugins, tables
from stages.runtime.errors import UserError
from stages.runtime.params import DatasetParams, ProbeParams, TaskParams

Array = NDArray[np.float64]

SAME_LABELS = "all labels are the same"  # kind of a reject: the labels of one split of a task


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

    ids: pa.ChunkedArray  # (N,)
    group_ids: pa.ChunkedArray  # (N,) as in SPLITS
    subset: NDArray[np.str_]  # (N,) the owner's subset of the split, may be empty
    split: NDArray[np.str_]  # (N,) train, val or test
    x: NDArray[np.float32]  # (M, D) embeddings of all images of the data set, as they are stored
    rows: columns.Rows  # (N,) where in x those of these images are
    y: Array  # (N, K) targets as the probe is fitted to them
    crops: Crops
    device: torch.device  # of the tensors

    def samples(self, split: str) -> Samples:
        """Embeddings and targets of one split."""
        return Samples(self.embeddings(split), torch.from_numpy(self.y[self.split == split]).to(self.device))

    def embeddings(self, split: str) -> torch.Tensor:
        """Those of one split (N, D), float64."""
        return torch.from_numpy(self.x[self.rows[self.split == split]]).to(self.device).double()


def tasks(dataset: str, settings: DatasetParams) -> list[Task]:
    """The tasks of one data set, sorted by name."""
    return [
        Task(dataset, name, params, plugins.load("fabnet.probes", params.probe))
        for name, params in sorted(settings.tasks.items())
    ]


def device(name: str) -> torch.device:
    """Where probes are computed.

    Raises:
        UserError: there is no such device.
    """
    try:
        return devices.exact(name)
    except ValueError as error:
        raise UserError(f"params.yaml: probe.device: {error}") from None


def join(index: pa.Table, splits: pa.Table, embeddings: pa.Table) -> pa.Table:
    """The rows of the index that have both a split and an embedding, sorted by `sample_id`.

    Columns `split` and `embedding` are added, and `group_id` is that of the splits. A row without one of them is a
    reject of `split` or `embed`.
    """
    index = index.sort_by("sample_id")
    split_at, embedding_at = (columns.places(index["sample_id"], of["sample_id"]) for of in (splits, embeddings))
    kept = pc.call_function("and", [split_at.is_valid(), embedding_at.is_valid()])
    split = splits.select(["group_id", "split"]).take(split_at.filter(kept))
    joined = index.drop_columns("group_id").filter(kept)
    for name in split.column_names:
        joined = joined.append_column(name, split[name])
    return joined.append_column("embedding", embeddings["embedding"].take(embedding_at.filter(kept)))


def load(faces: Path, splits: Path, embeddings: Path, dataset: str) -> tuple[pa.Table, int]:
    """`join` of one data set's tables in those folders, and the steps that their encoder was trained for."""
    table = embedding_tables.read(embeddings / f"{dataset}.parquet")
    index = tables.read(faces / dataset / "index.parquet")
    joined = join(index, tables.read(splits / f"{dataset}.parquet", tables.SPLITS), table)
    steps = (table.schema.metadata or {}).get(tables.STEPS.encode())
    if steps is None or not steps.isdigit():
        raise UserError(f"{embeddings / dataset}.parquet does not say how long its encoder was trained: "
                        "run `dvc repro --force embed`")  # fmt: skip
    return joined, int(steps)


def usable(joined: pa.Table, task: Task, rejects: tables.Rejects, device: torch.device) -> Images:
    """The images whose label the probe can use, for a probe on that device; the others are added to `rejects`.

    Raises:
        UserError: the index lacks the label, or no image has a usable one.
    """
    column, classes = task.settings.label, len(task.settings.classes)
    if column not in joined.column_names:
        raise UserError(
            f"dataset.{task.dataset}.tasks.{task.name}.label: the index of {task.dataset} has no column {column!r}"
        )
    rows, labels = _usable_labels(joined[column], joined["sample_id"], task, rejects)
    if not len(rows):
        raise UserError(f"{task}: no image has a usable label, an embedding and a split; see the rejects tables")
    kept = joined.drop_columns("embedding").take(pa.array(rows))
    sizes = np.stack([kept["width_px"].to_numpy(), kept["height_px"].to_numpy()], axis=1).astype(np.float64)
    crops = Crops(sizes, columns.matrix(kept["crop_xyxy_px"]).astype(np.float64))
    return Images(
        ids=kept["sample_id"],
        group_ids=kept["group_id"],
        subset=columns.texts(kept["subset"].fill_null("")),
        split=columns.texts(kept["split"]),
        x=columns.matrix(joined["embedding"]),
        rows=rows,
        y=task.module.encode(labels, crops, classes),
        crops=crops,
        device=device,
    )


def _usable_labels(
    column: pa.ChunkedArray, ids: pa.ChunkedArray, task: Task, rejects: tables.Rejects
) -> tuple[columns.Rows, NDArray[Any]]:
    """Rows of the labels that the probe can use, in their order, and these labels; the others are rejects."""
    _reject(ids.filter(column.is_null()), "no label", "", task, rejects)
    usable: list[tuple[columns.Rows, NDArray[Any]]] = []
    for rows, labels in columns.by_length(column):
        is_fine = np.ones(len(rows), np.bool_)
        for kind, detail, is_wrong in task.module.problems(labels, len(task.settings.classes)):
            _reject(ids.take(pa.array(rows[is_fine & is_wrong])), kind, detail, task, rejects)
            is_fine &= ~is_wrong
        if is_fine.any():
            usable.append((rows[is_fine], labels[is_fine]))
    if len(usable) > 1:
        lengths = " and ".join(str(labels.shape[1]) for _, labels in usable)
        raise UserError(f"{task}: the labels of all images should have as many values, found {lengths}: keep one kind")
    return usable[0] if usable else (np.empty(0, np.int64), np.empty(0))


def _reject(ids: pa.ChunkedArray, kind: str, detail: str, task: Task, rejects: tables.Rejects) -> None:
    for sample_id in ids.to_pylist():
        task.reject(rejects, sample_id, kind, detail)


def fit(images: Images, task: Task, params: ProbeParams) -> Probe:
    """The task's probe, from the training and the validation split.

    Raises:
        UserError: a split is empty.
    """
    missing = [split for split in tables.SPLIT_NAMES if not (images.split == split).any()]
    if missing:
        raise UserError(f"{task}: no usable image in the split {missing[0]}; see the rejects tables and `split`")
    return task.module.fit(images.samples("train"), images.samples("val"), settings(params))


def only_label(images: Images, split: str, task: Task) -> str | None:
    """`300 images of the class happy`, if all images of a split have the same label; None if their labels differ.

    A single image has one label; only of classes this says anything.
    """
    rows = images.split == split
    truth = task.module.decode(images.y[rows], images.crops[rows])
    known = np.isfinite(truth)
    low, high = np.where(known, truth, np.inf).min(0), np.where(known, truth, -np.inf).max(0)
    if (low < high).any():
        return None
    classes = [name for name, value in zip(task.settings.classes, high, strict=False) if value == 1]
    count = "1 image" if len(truth) == 1 else f"{len(truth)} images"
    if len(classes) == 1:
        return f"{count} of the class {classes[0]}"
    return count if len(truth) > 1 else None


def settings(params: ProbeParams) -> Settings:
    """What the modules of fabnet/probes are told."""
    return Settings(params.l2, params.max_iter, params.neighbours)


def predict(probe: Probe, images: Images, split: str, task: Task) -> Predictions:
    """Truth and prediction of every image of one split, in the units of the report, float32 as they are stored."""
    rows = images.split == split
    crops = images.crops[rows]
    raw = probe.predict(images.embeddings(split)).cpu().numpy()
    truth, prediction = (task.module.decode(y, crops).astype(np.float32) for y in (images.y[rows], raw))
    group = columns.codes(images.group_ids.filter(pa.array(rows)))
    return Predictions(truth.astype(np.float64), prediction.astype(np.float64), tuple(task.settings.classes), group)
