"""Embed all images of the still-image data sets, and frames of the test tracks, with one frozen encoder.

The encoders saved during training embed the followed data sets as well.

Reads: a model folder, faces, tracks and their splits.
Writes: <dataset>.parquet for all data sets, checkpoints/<step>/<dataset>.parquet for followed ones, a rejects table,
    own_heads/<dataset>.<task>.safetensors if a probe head came with the weights.
    Tables are EMBEDDINGS or, for face tracks, TRACK_EMBEDDINGS, with the encoder's steps, and the named parts of its
    embeddings if there are any, as metadata.
"""

import json
import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import chain, groupby, product
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.torch import save
from torch import Tensor, nn

from fabnet.modules import crops, devices, model_file
from fabnet.modules.method import Method
from stages.runtime import command, files, outputs, progress, tables, workers
from stages.runtime.errors import Rejected, UserError
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

    unit: int  # its number
    ids: list[str] = field(default_factory=list[str])
    images: list[Tensor] = field(default_factory=list[Tensor])  # each (3, S, S) float32 in [0, 1]
    lost: dict[str, Rejected] = field(default_factory=dict[str, Rejected])  # by `sample_id`


@dataclass(frozen=True)
class Origin:
    """Where any process finds an encoder, and where it puts it."""

    model: Path
    checkpoint: Path | None  # file of its weights; None: those of the model file
    device: str
    journal: Path  # other contents of these files have another one


@dataclass(frozen=True)
class Encoder:
    origin: Origin
    steps: int  # of its training
    folder: str  # of its tables in the result: `` or `checkpoints/<step>/`


@dataclass(frozen=True)
class Source:
    """Images to embed."""

    folder: Path  # of the shards
    rows: pa.Table  # shard, offset, size, sha256 and the columns of `schema` but for `embedding`; sorted by sample_id
    schema: pa.Schema  # of the result


@dataclass(frozen=True)
class Unit:
    """Consecutive images of a source, and the encoder for them."""

    origin: Origin
    folder: Path  # of the shards
    number: int
    rows: list[dict[str, Any]]  # of Source.rows

    def __str__(self) -> str:
        return f"embed {self.folder.name}: {len(self.rows)} images from {self.rows[0]['sample_id']}"


@dataclass(frozen=True)
class Table:
    """A table of the result: an encoder's embeddings of a source."""

    dataset: str
    source: Source
    encoder: Encoder
    units: Path  # folder of the UNIT_ROWS of finished units
    per_unit: int  # images

    @property
    def name(self) -> str:
        return f"{self.encoder.folder}{self.dataset}"

    @cached_property
    def paths(self) -> list[Path]:
        """Files of all units."""
        return [self.units / f"{start:09d}.parquet" for start in range(0, len(self.source.rows), self.per_unit)]

    @cached_property
    def missing(self) -> list[int]:
        """Numbers of the units that are not finished."""
        return [number for number, path in enumerate(self.paths) if not _is_whole(path)]

    @cached_property
    def images(self) -> int:
        """How many these units hold."""
        return sum(min(self.per_unit, len(self.source.rows) - number * self.per_unit) for number in self.missing)

    def todo(self) -> Iterator[Unit]:
        """The units that are not finished."""
        for number in self.missing:
            rows = self.source.rows.slice(number * self.per_unit, self.per_unit).to_pylist()
            yield Unit(self.encoder.origin, self.source.folder, number, rows)


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
    for stage, name in (*product(("detect", "index"), face_sets), *product(("pretrain", "refine"), [model.name])):
        outputs.forget(journal, stage, name)
    method, description = models.load(model)
    device = _device(embed.device)
    checkpoints = models.checkpoints(model)
    sources = {name: _still_images(faces / name, description.size_px) for name in sorted(face_sets)}
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
    encoders = [Encoder(Origin(model, None, device, work), description.steps, "")]
    for step, weights in checkpoints.items():
        encoders.append(Encoder(Origin(model, weights, device, work), step, f"checkpoints/{step:08d}/"))
    per_unit = embed.batch * BATCHES_PER_UNIT
    wanted = [
        Table(name, source, encoder, work / "units" / encoder.folder / name, per_unit)
        for encoder in encoders
        for name, source in sources.items()
        if encoder is encoders[0] or name in followed
    ]
    with journals.unfinished(work, {journals.WHOLE: out}) as is_due:
        if is_due:
            _embed_all(wanted, embed.batch)
            _write_all(wanted, work / journals.WHOLE, method)


def _device(name: str) -> str:
    """Name of the device to use; `auto` is what this machine has, also for the workers of a cluster.

    Raises:
        UserError: it is not available here, where it is needed.
    """
    if name != "auto" and workers.cluster_name():
        return name
    return models.device(name).type


def _still_images(folder: Path, size_px: int) -> Source:
    """All images of a data set of still images; those of the encoder's side, if they were cut out at it too."""
    index = tables.read(folder / "index.parquet")
    for own, common in zip(tables.further(size_px).names, ("offset", "size"), strict=True):
        if own in index.column_names:
            index = index.set_column(index.column_names.index(common), common, index[own])
            unknown = pa.nulls(len(index), pa.string())  # only that of the common side is in the index
            index = index.set_column(index.column_names.index("sha256"), "sha256", unknown)
    return _source(folder, index, tables.EMBEDDINGS)


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
    columns = [*("shard", "offset", "size", "sha256"), *(name for name in schema.names if name != "embedding")]
    return Source(folder, index.select(columns).sort_by("sample_id"), schema)


def _embed_all(wanted: Sequence[Table], batch: int) -> None:
    """Write the UNIT_ROWS of every unit that is not finished."""
    unfinished = [table.paths[number] for table in wanted for number in table.missing]
    embed = _embed_there if workers.cluster_name() else _embed_here
    with closing(embed(wanted, batch)) as results:
        for path, rows in zip(unfinished, results, strict=True):
            tables.write(path, UNIT_ROWS, rows, key=["sample_id"])


def _is_whole(unit: Path) -> bool:
    """Whether the UNIT_ROWS of a unit are there; a damaged file of them is put aside."""
    if not unit.exists():
        return False
    try:
        tables.read(unit, UNIT_ROWS)
    except UserError:
        journals.put_aside(unit, f"what was embedded for {unit.parent.name}")
        return False
    return True


def _write_all(wanted: Sequence[Table], whole: Path, method: Method) -> None:
    """Write the result; all units are finished."""
    rejects = tables.Rejects("embed")
    for table in wanted:
        _write(table, whole, rejects, method.parts)
    _write_own_head(method, whole)
    rejects.write(whole / "rejects.parquet")


def _write(table: Table, whole: Path, rejects: tables.Rejects, parts: Mapping[str, tuple[int, int]]) -> None:
    """Write a table whose units are all finished; images without an embedding are added to `rejects`."""
    rows = [row for path in table.paths for row in tables.read(path, UNIT_ROWS).to_pylist()]
    images = zip(table.source.rows.to_pylist(), rows, strict=True)
    embedded = [image | row for image, row in images if row["kind"] is None]
    lost = [row for row in rows if row["kind"] is not None]
    for row in lost:
        rejects.add(table.dataset, table.encoder.folder + row["sample_id"], row["kind"], row["detail"])
    said = {tables.STEPS: str(table.encoder.steps)}
    if parts:
        said[tables.PARTS] = json.dumps(dict(parts), sort_keys=True)
    tables.write(whole / f"{table.name}.parquet", table.source.schema, embedded, key=["sample_id"], metadata=said)
    log.info("embed %s: %d images, %d rejects", table.name, len(embedded), len(lost))


def _write_own_head(method: Method, whole: Path) -> None:
    head = method.own_head()
    if head is not None:
        weights = {name: value.contiguous() for name, value in head.state.items()}
        files.replace_bytes(whole / "own_heads" / f"{head.dataset}.{head.task}.safetensors", save(weights))


def _embed_here(wanted: Iterable[Table], batch: int) -> Generator[list[dict[str, Any]], None, None]:
    """UNIT_ROWS of every unfinished unit in its turn, made in this process."""
    for table in wanted:
        batches = _embed_batches(table.encoder.origin, table.source.folder, table.todo(), batch)
        batches = progress.track(batches, -(-table.images // batch), f"embed {table.name}", "batches")
        for _, of_unit in groupby(batches, itemgetter(0)):
            yield list(chain.from_iterable(rows for _, rows in of_unit))


def _embed_there(wanted: Sequence[Table], batch: int) -> Generator[list[dict[str, Any]], None, None]:
    """UNIT_ROWS of every unfinished unit in its turn, made by the workers of a cluster."""
    todo = (unit for table in wanted for unit in table.todo())
    work = partial(embed_unit, batch=batch)
    shared = wanted[0].encoder.origin.journal
    with closing(workers.in_order(work, todo, 1, shared=shared)) as results:
        yield from progress.track(results, sum(table.images for table in wanted), "embed", "images", size=len)


def embed_unit(unit: Unit, *, batch: int) -> list[dict[str, Any]]:
    """UNIT_ROWS of one unit, by a worker that is one of many on its machine: with a single PyTorch thread.

    Raises:
        UserError: the device is not available to this worker, or a shard is missing or cut short.
    """
    torch.set_num_threads(1)
    return [row for _, rows in _embed_batches(unit.origin, unit.folder, [unit], batch) for row in rows]


def _embed_batches(
    origin: Origin, folder: Path, units: Iterable[Unit], batch: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Number of the unit and UNIT_ROWS of every batch."""
    net, size_px = _network(origin)
    todo = (
        (unit.number, unit.rows[start : start + batch]) for unit in units for start in range(0, len(unit.rows), batch)
    )
    with Shards(folder) as shards:
        for images in _batches(todo, shards, size_px):
            yield images.unit, list(_embed(net, images, origin.device))


@lru_cache(maxsize=1)  # a worker embeds many units with it
def _network(origin: Origin) -> tuple[nn.Module, int]:
    """The encoder on its device, and the side of its input in px."""
    method, description = models.load(origin.model, origin.checkpoint)
    return method.encoder.to(models.device(origin.device)), description.size_px


def _batches(todo: Iterable[tuple[int, Sequence[dict[str, Any]]]], shards: Shards, size_px: int) -> Iterator[Batch]:
    """The images of each element of `todo`; threads read and decode ahead of what is asked for."""
    with ThreadPoolExecutor(min(8, workers.available())) as pool:
        waiting: deque[tuple[int, list[tuple[str, Future[Tensor]]]]] = deque()
        for unit, rows in todo:
            waiting.append((unit, [(row["sample_id"], pool.submit(_load, shards, row, size_px)) for row in rows]))
            if len(waiting) > BATCHES_AHEAD:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _load(shards: Shards, row: dict[str, Any], size_px: int) -> Tensor:
    image = media.decode_stored(shards.read(row["shard"], row["offset"], row["size"], row["sha256"]))
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


def _embed(net: nn.Module, batch: Batch, device: str) -> Iterator[dict[str, Any]]:
    """UNIT_ROWS of one batch."""
    for sample_id, rejected in batch.lost.items():
        yield {"sample_id": sample_id, "kind": rejected.kind, "detail": rejected.detail}
    if not batch.images:
        return
    with torch.inference_mode(), devices.without_tf32():
        vectors = net(torch.stack(batch.images).to(device)).flatten(1).cpu().numpy()  # (B, D)
    for sample_id, vector in zip(batch.ids, vectors, strict=True):
        if np.isfinite(vector).all():
            yield {"sample_id": sample_id, "embedding": vector}
        else:
            yield {"sample_id": sample_id, "kind": "the embedding is not finite", "detail": ""}


if __name__ == "__main__":
    command.main(run, __doc__)
