"""Embed every image of the still-image data sets with one frozen encoder.

Reads: a model folder, faces.  Writes: one EMBEDDINGS table per data set and a rejects table.
Params: detected, boxed, embed.
"""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from fabnet import crops
from stages import command, config, journals, media, models, progress, tables
from stages.errors import Rejected
from stages.shards import Shards

log = logging.getLogger(__name__)

SECTIONS = {"detected": "detected", "boxed": "boxed", "params": "embed"}

BATCHES_AHEAD = 2  # read and decoded while the network works on another
BATCHES_PER_UNIT = 16  # embedded, then recorded as done

# One image of a finished unit: its embedding, or why it has none.
PARTS = pa.schema([*tables.EMBEDDINGS, ("reason", pa.string())])


@dataclass
class Batch:
    """Images that could be read, and why the others could not."""

    unit: int
    ids: list[str] = field(default_factory=list[str])
    images: list[Tensor] = field(default_factory=list[Tensor])  # each (3, S, S) float32 in [0, 1]
    lost: dict[str, str] = field(default_factory=dict[str, str])  # `sample_id` -> reason


def run(
    *,
    model: Path,
    faces: Path,
    out: Path,
    journal: Path = Path(".journal"),
    detected: list[str],
    boxed: list[str],
    params: config.EmbedParams,
) -> None:
    """Write the embeddings of each data set in the order of `sample_id`; finished units survive a stop.

    Raises:
        UserError: no usable model, or a shard is missing or cut short.
    """
    encoder, card = models.load(model)
    device = models.device(params.device)
    encoder = encoder.to(device)
    datasets = sorted([*detected, *boxed])
    work = journals.folder(
        journal,
        "embed",
        out.name,
        params.model_dump_json(),
        *((model / name).read_bytes() for name in ("model.json", "encoder.safetensors")),
        *((faces / dataset / "index.parquet").read_bytes() for dataset in datasets),
    )
    rejects: list[dict[str, str]] = []
    for dataset in datasets:
        units = work / "units" / dataset
        parts = _embed_dataset(encoder, device, faces / dataset, units, size_px=card.size_px, batch=params.batch)
        embedded = [part for part in parts if part["reason"] is None]
        lost = [{"dataset": dataset, "key": part["sample_id"], "stage": "embed", "reason": part["reason"]}
                for part in parts if part["reason"] is not None]  # fmt: skip
        tables.write(work / "whole" / f"{dataset}.parquet", tables.EMBEDDINGS, embedded, key=["sample_id"])
        log.info("embed %s: %d images, %d rejects", dataset, len(embedded), len(lost))
        rejects += lost
    tables.write_rejects(work / "whole" / "rejects.parquet", rejects)
    journals.move_into_place(work / "whole", out)
    journals.forget(work)


def _embed_dataset(
    encoder: nn.Module, device: torch.device, folder: Path, units: Path, *, size_px: int, batch: int
) -> list[dict[str, Any]]:
    """PARTS rows of every image in `folder`; units that lie in `units` already are not done again."""
    index = tables.read(folder / "index.parquet").sort_by("sample_id").select(["sample_id", "shard", "offset", "size"])
    per_unit = batch * BATCHES_PER_UNIT
    paths = [units / f"{start:09d}.parquet" for start in range(0, len(index), per_unit)]
    todo: list[tuple[int, list[dict[str, Any]]]] = []
    for unit, path in enumerate(paths):
        rows = [] if path.exists() else index.slice(unit * per_unit, per_unit).to_pylist()
        todo += [(unit, rows[start : start + batch]) for start in range(0, len(rows), batch)]
    with Shards(folder) as shards:
        batches = progress.track(_batches(todo, shards, size_px), len(todo), f"embed {folder.name}", "batches")
        for unit, of_unit in groupby(batches, key=lambda batch: batch.unit):
            found = [row for some in of_unit for row in _embed(encoder, device, some)]
            tables.write(paths[unit], PARTS, found, key=["sample_id"])
    return [row for path in paths for row in tables.read(path, PARTS).to_pylist()]


def _batches(todo: Iterable[tuple[int, Sequence[dict[str, Any]]]], shards: Shards, size_px: int) -> Iterator[Batch]:
    """The images of each element of `todo`; threads read and decode ahead of what is asked for."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting: deque[tuple[int, list[tuple[str, Future[Tensor]]]]] = deque()
        for unit, rows in todo:
            waiting.append((unit, [(row["sample_id"], pool.submit(_load, shards, row, size_px)) for row in rows]))
            if len(waiting) > BATCHES_AHEAD:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _load(shards: Shards, row: dict[str, Any], size_px: int) -> Tensor:
    image = media.decode_image(shards.read(row["shard"], row["offset"], row["size"]))
    rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1]))
    return crops.resize(rgb[None], size_px)[0]


def _finished(unit: int, loading: list[tuple[str, Future[Tensor]]]) -> Batch:
    batch = Batch(unit)
    for sample_id, future in loading:
        try:
            batch.images.append(future.result())
            batch.ids.append(sample_id)
        except Rejected as rejected:
            batch.lost[sample_id] = str(rejected)
    return batch


def _embed(encoder: nn.Module, device: torch.device, batch: Batch) -> Iterator[dict[str, Any]]:
    """PARTS rows of one batch."""
    for sample_id, reason in batch.lost.items():
        yield {"sample_id": sample_id, "embedding": None, "reason": reason}
    if not batch.images:
        return
    with torch.inference_mode():
        vectors = encoder(torch.stack(batch.images).to(device)).flatten(1).cpu().numpy()  # (B, D)
    for sample_id, vector in zip(batch.ids, vectors, strict=True):
        is_finite = np.isfinite(vector).all()
        reason = None if is_finite else "the embedding is not finite"
        yield {"sample_id": sample_id, "embedding": vector if is_finite else None, "reason": reason}


if __name__ == "__main__":
    command.main(run, SECTIONS, __doc__)
