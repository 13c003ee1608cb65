"""Embed all images of the still-image data sets, and frames of the test tracks, with one frozen encoder.

The encoders saved during training embed the followed data sets as well.

Reads: a model folder, faces, tracks and their splits.
Writes: <dataset>.parquet for all data sets, checkpoints/<step>/<dataset>.parquet for followed ones, a rejects table.
    Tables are EMBEDDINGS or, for face tracks, TRACK_EMBEDDINGS, with the encoder's steps as metadata.
"""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from fabnet.modules import crops, model_file
from stages.runtime import command, files, progress, tables
from stages.runtime.errors import Rejected
from stages.runtime.params import EmbedParams
from stages.storage import journals, media
from stages.storage.shards import Shards
from stages.training import models

log = logging.getLogger(__name__)

BATCHES_AHEAD = 2  # read and decoded while the network works on another
BATCHES_PER_UNIT = 16  # embedded, then recorded as done

# One image of a finished unit: its embedding, or why it has none.
UNIT_ROWS = pa.schema([*tables.EMBEDDINGS, ("kind", pa.string()), ("detail", pa.string())])


@dataclass
class Batch:
    """Readable images, and why the others could not be read."""

    unit: int
    ids: list[str] = field(default_factory=list[str])
    images: list[Tensor] = field(default_factory=list[Tensor])  # each (3, S, S) float32 in [0, 1]
    lost: dict[str, Rejected] = field(default_factory=dict[str, Rejected])  # by `sample_id`


@dataclass(frozen=True)
class Encoder:
    net: nn.Module
    device: torch.device
    size_px: int
    steps: int  # of its training
    folder: str  # of its tables in the result: `` or `checkpoints/<step>/`


@dataclass(frozen=True)
class Source:
    """Images to embed."""

    folder: Path  # of the shards
    rows: pa.Table  # shard, offset, size and the columns of `schema` but for `embedding`; sorted by sample_id
    schema: pa.Schema  # of the result


def run(
    *,
    model: Path,
    faces: Path,
    tracks: Path,
    track_splits: Path,
    out: Path,
    journal: Path = Path(".journal"),
    face_sets: list[str],
    track_sets: list[str],
    followed: list[str],
    embed: EmbedParams,
) -> None:
    """Write the embeddings of each data set in the order of `sample_id`; finished units survive a stop.

    Raises:
        UserError: no usable model, or a table or shard is missing or cut short.
    """
    method, description = models.load(model)
    device = models.device(embed.device)
    checkpoints = models.checkpoints(model)
    sources = {name: _still_images(faces / name) for name in sorted(face_sets)}
    for name in sorted(track_sets):
        sources[name] = _test_frames(tracks / name, track_splits / f"{name}.parquet", embed.frames_per_track)
    read = [
        model / model_file.NAME,
        *checkpoints.values(),
        *(faces / name / "index.parquet" for name in sorted(face_sets)),
        *(tracks / name / "index.parquet" for name in track_sets),
        *(track_splits / f"{name}.parquet" for name in track_sets),
    ]
    named = (embed.model_dump_json(), *track_sets, *followed)
    work = journals.folder(journal, "embed", out.name, *named, *map(files.file_digest, read))
    rejects = tables.Rejects("embed")
    with journals.unfinished(work, out) as whole:
        encoder = Encoder(method.encoder, device, description.size_px, description.steps, "")
        _embed_all(encoder, sources, work, embed, rejects)
        curves = {name: sources[name] for name in followed}
        for step, weights in checkpoints.items():
            net = models.load(model, weights)[0].encoder
            encoder = Encoder(net, device, description.size_px, step, f"checkpoints/{step:08d}/")
            _embed_all(encoder, curves, work, embed, rejects)
        rejects.write(whole / "rejects.parquet")


def _still_images(folder: Path) -> Source:
    """All images of a data set of still images."""
    return _source(folder, tables.read(folder / "index.parquet"), tables.EMBEDDINGS)


def _test_frames(folder: Path, splits: Path, per_track: int) -> Source:
    """Up to `per_track` evenly spread frames of every track in the test split."""
    index = tables.read(folder / "index.parquet", tables.TRACK_FRAMES)
    tested = tables.read(splits, tables.SPLITS).filter(pc.field("split") == "test")
    frames = index.filter(pc.field("sample_id").isin(tested["sample_id"].combine_chunks()))
    frames = frames.sort_by([("track_id", "ascending"), ("frame", "ascending")])
    picked: list[int] = []
    for start, count in zip(*(column.tolist() for column in tables.runs(frames["track_id"])), strict=True):
        kept = min(per_track, count)
        picked += [start + (2 * index + 1) * count // (2 * kept) for index in range(kept)]
    return _source(folder, frames.take(pa.array(picked, pa.int64())), tables.TRACK_EMBEDDINGS)


def _source(folder: Path, index: pa.Table, schema: pa.Schema) -> Source:
    columns = [*("shard", "offset", "size"), *(name for name in schema.names if name != "embedding")]
    return Source(folder, index.select(columns).sort_by("sample_id"), schema)


def _embed_all(
    encoder: Encoder,
    sources: Mapping[str, Source],
    work: Path,
    params: EmbedParams,
    rejects: tables.Rejects,
) -> None:
    """Write the encoder's table of every source; images without an embedding are added to `rejects`."""
    encoder.net.to(encoder.device)
    for dataset, source in sources.items():
        rows = _embed_source(encoder, source, work / "units" / encoder.folder / dataset, params.batch)
        images = zip(source.rows.to_pylist(), rows, strict=True)
        embedded = [image | row for image, row in images if row["kind"] is None]
        lost = [row for row in rows if row["kind"] is not None]
        for row in lost:
            rejects.add(dataset, encoder.folder + row["sample_id"], row["kind"], row["detail"])
        path = work / journals.WHOLE / encoder.folder / f"{dataset}.parquet"
        steps = {tables.STEPS: str(encoder.steps)}
        tables.write(path, source.schema, embedded, key=["sample_id"], metadata=steps)
        log.info("embed %s%s: %d images, %d rejects", encoder.folder, dataset, len(embedded), len(lost))


def _embed_source(encoder: Encoder, source: Source, units: Path, batch: int) -> list[dict[str, Any]]:
    """UNIT_ROWS of the source's images in their order; units that lie in `units` already are not done again."""
    per_unit = batch * BATCHES_PER_UNIT
    paths = [units / f"{start:09d}.parquet" for start in range(0, len(source.rows), per_unit)]
    todo: list[tuple[int, list[dict[str, Any]]]] = []
    for unit, path in enumerate(paths):
        rows = [] if path.exists() else source.rows.slice(unit * per_unit, per_unit).to_pylist()
        todo += [(unit, rows[start : start + batch]) for start in range(0, len(rows), batch)]
    with Shards(source.folder) as shards:
        batches = _batches(todo, shards, encoder.size_px)
        batches = progress.track(batches, len(todo), f"embed {encoder.folder}{source.folder.name}", "batches")
        for unit, of_unit in groupby(batches, key=lambda batch: batch.unit):
            rows = [row for batch in of_unit for row in _embed(encoder, batch)]
            tables.write(paths[unit], UNIT_ROWS, rows, key=["sample_id"])
    return [row for path in paths for row in tables.read(path, UNIT_ROWS).to_pylist()]


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
    return crops.resize(torch.from_numpy(image)[None], size_px)[0]


def _finished(unit: int, loading: list[tuple[str, Future[Tensor]]]) -> Batch:
    batch = Batch(unit)
    for sample_id, future in loading:
        try:
            batch.images.append(future.result())
            batch.ids.append(sample_id)
        except Rejected as rejected:
            batch.lost[sample_id] = rejected
    return batch


def _embed(encoder: Encoder, batch: Batch) -> Iterator[dict[str, Any]]:
    """UNIT_ROWS of one batch."""
    for sample_id, rejected in batch.lost.items():
        yield {"sample_id": sample_id, "kind": rejected.kind, "detail": rejected.detail}
    if not batch.images:
        return
    with torch.inference_mode():
        vectors = encoder.net(torch.stack(batch.images).to(encoder.device)).flatten(1).cpu().numpy()  # (B, D)
    for sample_id, vector in zip(batch.ids, vectors, strict=True):
        if np.isfinite(vector).all():
            yield {"sample_id": sample_id, "embedding": vector}
        else:
            yield {"sample_id": sample_id, "kind": "the embedding is not finite", "detail": ""}


if __name__ == "__main__":
    command.main(run, __doc__)
