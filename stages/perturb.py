"""Cut the test faces again at other scales and places, and score the fitted probes on them.

Nothing is fitted again. A point of a landmark task is predicted in the changed crop and measured in the source image.

Reads: releases of still images in data/raw, faces, face splits, one model, its embeddings and its probe heads.
Writes: sensitivity.parquet (tables.SENSITIVITY) and, last, rejects.parquet.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fabnet import probe_head
from fabnet.modules import crops, devices
from fabnet.probe_head import Crops, FittedHead, Probe
from stages.evaluation import labelled, scores
from stages.evaluation.labelled import Images, Task
from stages.evaluation.scores import Bootstrap, Predictions
from stages.runtime import command, plugins, progress, tables
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import (
    DatasetParams,
    DetectParams,
    EmbedParams,
    IndexParams,
    PerturbParams,
    ProbeParams,
)
from stages.sensitivity import recutting
from stages.sensitivity.recutting import Change
from stages.training import models

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    net: nn.Module  # in evaluation mode, on the device
    size_px: int  # side of its input
    device: torch.device

    def embeddings(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) for images (H, W, 3).

        Raises:
            Rejected: an embedding is not finite.
        """
        x = torch.cat([crops.resize(torch.from_numpy(image)[None], self.size_px) for image in images])
        with torch.inference_mode(), devices.without_tf32():
            vectors = self.net(x.to(self.device)).flatten(1).cpu().numpy()
        if not np.isfinite(vectors).all():
            raise Rejected("the embedding is not finite")
        return vectors


@dataclass(frozen=True)
class Recut:
    """Test images of one data set, each under every change."""

    ids: list[str]  # (N,)
    boxes: NDArray[np.float64]  # (N, C, 4) continuous edges in the source image
    x: NDArray[np.float32]  # (N, C, D)


def run(
    *,
    raw: Path,
    faces: Path,
    splits: Path,
    model: Path,
    embeddings: Path,
    metrics: Path,
    out: Path,
    seed: int,
    face_sets: list[str],
    detect: DetectParams,
    index: IndexParams,
    embed: EmbedParams,
    probe: ProbeParams,
    perturb: PerturbParams,
    dataset: dict[str, DatasetParams],
) -> None:
    """Score the probes of every still-image data set under every change of the crop.

    Raises:
        UserError: a release, a model, a table or a probe head is missing or cannot be used.
    """
    method, description = models.load(model)
    device = models.device(embed.device)
    encoder = Encoder(method.encoder.to(device), description.size_px, device)
    changes = recutting.changes(perturb)
    bootstrap = Bootstrap(probe.bootstrap, probe.confidence, seed)
    rejects = tables.Rejects("perturb")
    rows: list[dict[str, Any]] = []
    for name in sorted(face_sets):
        joined, _ = labelled.load(faces, splits, embeddings, name)
        chosen = _chosen(joined, perturb.images, seed)
        quality = (detect if plugins.load("stages.datasets", name).KIND == "detected" else index).jpeg_quality
        recut = _recut(raw / name, name, chosen, changes, quality, encoder, rejects)
        if not recut.ids:
            continue
        for task in labelled.tasks(name, dataset[name]):
            images = labelled.usable(joined, task, tables.Rejects("perturb"), labelled.device(probe.device))
            fitted = _probe(metrics / "heads" / f"{name}.{task.name}.safetensors", images, task, probe)
            rows += _rows(fitted, images, recut, changes, task, bootstrap, rejects)
    key = ["dataset", "task", "scale", "shift"]
    tables.write(out / "sensitivity.parquet", tables.SENSITIVITY, rows, key=key)
    rejects.write(out / "rejects.parquet")
    log.info("perturb: %d scores, %d rejects", len(rows), len(rejects))


def _chosen(joined: pa.Table, most: int, seed: int) -> list[dict[str, Any]]:
    """Up to `most` random images of the test split, in their order."""
    tested = joined.filter(pc.field("split") == "test").drop_columns("embedding")
    drawn = np.random.default_rng(seed).choice(len(tested), min(most, len(tested)), replace=False)
    return tested.take(pa.array(np.sort(drawn))).to_pylist()


def _recut(
    raw: Path,
    dataset: str,
    rows: list[dict[str, Any]],
    changes: list[Change],
    quality: int,
    encoder: Encoder,
    rejects: tables.Rejects,
) -> Recut:
    """The images of these rows under every change; one that cannot be read is added to `rejects`."""
    paths = recutting.image_paths(raw, dataset, {row["sample_id"] for row in rows})
    kept: list[dict[str, Any]] = []
    vectors: list[NDArray[np.float32]] = []
    for row in progress.track(rows, len(rows), f"perturb {dataset}", "images"):
        try:
            if row["sample_id"] not in paths:
                raise Rejected("no such image", "the release has changed")
            cut = recutting.recut(raw / paths[row["sample_id"]], row, changes, quality)
            vectors.append(encoder.embeddings(cut))
            kept.append(row)
        except Rejected as error:
            rejects.add(dataset, row["sample_id"], error.kind, error.detail)
    boxes = [[change.of(row["crop_xyxy_px"]) for change in changes] for row in kept]
    return Recut([row["sample_id"] for row in kept], np.array(boxes, np.float64), np.array(vectors, np.float32))


def _probe(path: Path, images: Images, task: Task, params: ProbeParams) -> Probe:
    """The fitted probe; one without a head looks up the embeddings of the training split and is not fitted either."""
    if not hasattr(task.module, "link"):
        return labelled.fit(images, task, params)
    try:
        state = {name: weight.to(images.device) for name, weight in load_file(path).items()}
        return FittedHead(probe_head.layers(state), task.module.link, float("nan"), {})
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a usable probe head ({reason}): run `dvc repro --force probe`") from None


def _rows(
    probe: Probe,
    images: Images,
    recut: Recut,
    changes: list[Change],
    task: Task,
    bootstrap: Bootstrap,
    rejects: tables.Rejects,
) -> Iterator[dict[str, Any]]:
    """The headline for every scale and every shift, which is averaged over its directions."""
    metric = task.settings.metrics[0]
    told = list(_told(probe, images, recut, task))
    unchanged = [told[changes.index(Change(1.0, 0.0, (0, 0)))]]
    if not len(unchanged[0].truth):
        task.reject(rejects, "test", "no image with a usable label")
        return
    of_size = groupby(zip(changes, told, strict=True), lambda pair: (pair[0].scale, pair[0].shift))
    for (scale, shift), group in of_size:
        runs = [predictions for _, predictions in group]
        score = next(score for score in scores.score(metric, runs, bootstrap) if score.target == scores.MEAN)
        change = scores.compare(metric, runs, unchanged, bootstrap)
        if change is None or np.isnan(score.value):
            task.reject(rejects, f"{scale:g}/{shift:g}", f"{metric} is undefined", "on the chosen test images")
            continue
        moved = {"change": change.value, "change_ci_low": change.ci_low, "change_ci_high": change.ci_high}
        yield {"dataset": task.dataset, "task": task.name, "scale": scale, "shift": shift, **score.row, **moved}


def _told(probe: Probe, images: Images, recut: Recut, task: Task) -> Iterator[Predictions]:
    """Truth and prediction of the usable images for each change, in the units of the report."""
    place = {sample_id: row for row, sample_id in enumerate(recut.ids)}
    at = [place.get(sample_id, -1) for sample_id in images.ids.to_pylist()]
    rows = (images.split == "test") & (np.array(at) >= 0)
    used = np.array(at)[rows]
    truth = _stored(task.module.decode(images.y[rows], images.crops[rows]))
    for number in range(recut.boxes.shape[1]):
        x: Tensor = torch.from_numpy(recut.x[used, number]).to(images.device).double()
        there = Crops(images.crops[rows].size_px, recut.boxes[used, number])
        prediction = task.module.decode(probe.predict(x).cpu().numpy(), there)
        yield Predictions(truth, _stored(prediction), tuple(task.settings.classes))


def _stored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `probe` stores predictions."""
    return values.astype(np.float32).astype(np.float64)


if __name__ == "__main__":
    command.main(run, __doc__)
