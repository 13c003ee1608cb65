"""Cut the test faces again at other scales and places, and score the fitted probes on them.

Nothing is fitted again. A point of a landmark task is predicted in the changed crop and measured in the source image.

Reads: releases of still images in data/raw, faces, face splits, one model, its embeddings and its probe heads.
Writes: sensitivity.parquet (tables.SENSITIVITY) and rejects.parquet.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from fabnet.modules import crops, devices
from fabnet.probe_head import Probe
from stages.evaluation import heads, labelled
from stages.evaluation.labelled import Images, Task
from stages.evaluation.scores import Bootstrap
from stages.runtime import command, files, outputs, plugins, progress, tables
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import (
    DatasetParams,
    DetectParams,
    EmbedParams,
    IndexParams,
    PerturbParams,
    ProbeParams,
)
from stages.sensitivity import measuring, recutting
from stages.sensitivity.measuring import Recut
from stages.sensitivity.recutting import Change
from stages.training import models

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    net: nn.Module  # in evaluation mode, on the device
    size_px: int  # side of its input
    device: torch.device

    def embeddings(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) for images (H, W, 3) of one size.

        Raises:
            Rejected: an embedding is not finite.
        """
        x = crops.resize(torch.from_numpy(np.stack(images)), self.size_px)
        with torch.inference_mode(), devices.without_tf32():
            vectors = self.net(x.to(self.device)).flatten(1).cpu().numpy()
        if not np.isfinite(vectors).all():
            raise Rejected("the embedding is not finite")
        return vectors


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
        recut = _recut(raw / name, chosen, changes, encoder=encoder, quality=quality, rejects=rejects)
        if not recut.ids:
            continue
        for task in labelled.tasks(name, dataset[name]):
            images = labelled.usable(joined, task, tables.Rejects("perturb"), labelled.device(probe.device))
            fitted = _probe(metrics / "heads" / f"{name}.{task.name}.safetensors", images, task, probe)
            rows += measuring.rows(fitted, images, recut, task, bootstrap=bootstrap, rejects=rejects)
    key = ["dataset", "task", "metric", "scale", "shift"]
    with outputs.replaced(out) as whole:
        tables.write(whole / "sensitivity.parquet", tables.SENSITIVITY, rows, key=key)
        rejects.write(whole / "rejects.parquet")
    log.info("perturb: %d scores, %d rejects", len(rows), len(rejects))


def _chosen(joined: pa.Table, most: int, seed: int) -> list[dict[str, Any]]:
    """Up to `most` random images of the test split, in their order."""
    tested = joined.filter(pc.field("split") == "test").drop_columns("embedding")
    drawn = np.random.default_rng(seed).choice(len(tested), min(most, len(tested)), replace=False)
    return tested.take(pa.array(np.sort(drawn))).to_pylist()


def _recut(
    raw: Path,
    rows: list[dict[str, Any]],
    changes: list[Change],
    *,
    encoder: Encoder,
    quality: int,
    rejects: tables.Rejects,
) -> Recut:
    """The images of these rows under every change; one that cannot be read is added to `rejects`."""
    dataset = raw.name
    paths = recutting.image_paths(raw, dataset, {row["sample_id"] for row in rows})
    kept: list[dict[str, Any]] = []
    vectors: list[NDArray[np.float32]] = []
    for row in progress.track(rows, len(rows), f"perturb {dataset}", "images"):
        try:
            if row["sample_id"] not in paths:
                raise Rejected("no such image", "the release has changed")
            cut = recutting.recut(raw / paths[row["sample_id"]], row, changes, size_px=encoder.size_px, quality=quality)
            vectors.append(encoder.embeddings(cut))
            kept.append(row)
        except Rejected as error:
            rejects.add(dataset, row["sample_id"], error.kind, error.detail)
    boxes = [[change.of(row["crop_xyxy_px"]) for change in changes] for row in kept]
    return Recut(
        changes, [row["sample_id"] for row in kept], np.array(boxes, np.float64), np.array(vectors, np.float32)
    )


def _probe(path: Path, images: Images, task: Task, params: ProbeParams) -> Probe:
    """The fitted probe; one without a head looks up the embeddings of the training split and is not fitted either."""
    if not hasattr(task.module, "link"):
        return labelled.fit(images, task, params)
    files.read_through(path)
    try:
        return heads.fitted(load_file(path), task, images.device)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a usable probe head ({reason}): run `dvc repro --force probe`") from None


if __name__ == "__main__":
    command.main(run, __doc__)
