"""Frames of all track data sets in columns, by split, identity, video and track; pixels on demand."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fabnet.training.pairs import Tracks
from stages.runtime import files, tables
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.shards import Shards

CACHE_BYTES = 2**30  # decoded frames that are kept


@dataclass
class TrackSet:
    """Row numbers point into `frames`, `sizes` and `jitter_px`."""

    tracks: dict[str, Tracks]  # by split
    frames: pa.Table  # where every frame lies: dataset, shard, offset, size; by data set and name
    shards: Mapping[str, Shards]  # by data set
    sizes: NDArray[np.int32]  # (rows, 2) width and height, px
    jitter_px: NDArray[np.int32]  # (rows, 2) range of the random crop's side
    rejects: tables.Rejects
    _cache: OrderedDict[int, NDArray[np.uint8]] = field(default_factory=OrderedDict[int, NDArray[np.uint8]])
    _cached_bytes: int = 0
    _lock: Any = field(default_factory=Lock)

    def image(self, row: int) -> NDArray[np.uint8]:
        """RGB frame (H, W, 3) of one row; the most recently used frames stay decoded. Safe between threads.

        Raises:
            UserError: the frame cannot be decoded, though `crop` wrote it.
        """
        with self._lock:
            if row in self._cache:
                self._cache.move_to_end(row)
                return self._cache[row]
        dataset, shard, offset, size = (column[row].as_py() for column in self.frames.columns)
        try:
            image = media.decode_image(self.shards[dataset].read(shard, offset, size))
        except Rejected as error:
            raise UserError(f"{dataset}, frame at {offset} in {shard}: {error}; run `dvc repro --force crop`") from None
        with self._lock:
            self._keep(row, image)
        return image

    def datasets(self, split: str) -> set[str]:
        """Data sets that have a track in the split."""
        if split not in self.tracks:
            return set()
        return set(self.frames["dataset"].take(pa.array(self.tracks[split].first)).unique().to_pylist())

    def _keep(self, row: int, image: NDArray[np.uint8]) -> None:
        if row not in self._cache:
            self._cache[row] = image
            self._cached_bytes += image.nbytes
        while self._cached_bytes > CACHE_BYTES:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes


@dataclass(frozen=True)
class TrackSource:
    """Where the frames of track data sets are, and how they are cropped in training."""

    tracks: Path  # a folder of shards and TRACK_FRAMES for each data set
    splits: Path  # a SPLITS table for each data set
    track_sets: Sequence[str]
    jitter_px: Mapping[str, tuple[int, int]]  # per data set: range of the random square crop's side

    def load(self, frames: int, stage: str, needed: Sequence[str] = ("train", "val")) -> TrackSet:
        """All tracks that have at least `frames` frames; shorter ones become rejects of `stage`.

        Raises:
            UserError: a table is missing, or one of the `needed` splits has no track.
        """
        names = sorted(self.track_sets)
        places = [_places(self.tracks / name / "index.parquet", name) for name in names]
        starts = np.cumsum([0, *(len(rows) for rows in places)])
        runs = pa.concat_tables([self._runs(name, int(start)) for name, start in zip(names, starts, strict=False)])
        tracks, rejects = _group(runs, frames, stage)
        for split in needed:
            if split not in tracks:
                raise UserError(f"no track of at least {frames} frames in the {split} split: use a larger release")
        rows = pa.concat_tables(places).unify_dictionaries()
        return TrackSet(
            tracks,
            rows.select(["dataset", "shard", "offset", "size"]),
            {name: Shards(self.tracks / name) for name in names},
            np.stack([rows["width_px"].to_numpy(), rows["height_px"].to_numpy()], axis=1),
            np.repeat(np.array([self.jitter_px[name] for name in names], np.int32), np.diff(starts), axis=0),
            rejects,
        )

    def _runs(self, dataset: str, start: int) -> pa.Table:
        """Tracks of one data set in the order of their frames, the first of which is row `start`.

        TRACK_FRAMES is sorted by names of frames, which begin with the track's. One column is in memory at a time.
        """
        index, splits = self.tracks / dataset / "index.parquet", self.splits / f"{dataset}.parquet"
        if not _column(index, tables.TRACK_FRAMES, "sample_id").equals(_column(splits, tables.SPLITS, "sample_id")):
            raise UserError(f"{splits} does not cover every frame of {dataset}: run `dvc repro split`")
        names = _column(index, tables.TRACK_FRAMES, "track_id")
        first, length = tables.runs(names)
        of_tracks: dict[str, Any] = {"track_id": names.take(first), "first": start + first, "length": length}
        del names
        for column in ("identity_id", "video_id"):
            of_tracks[column] = _column(index, tables.TRACK_FRAMES, column).take(first)
        of_tracks["split"] = _column(splits, tables.SPLITS, "split").take(first)
        return pa.table({"dataset": pa.array([dataset] * len(first), pa.string()), **of_tracks})

    def table_digests(self) -> list[str]:
        """Of the tables that are there; they name every frame by its digest, so they stand for the shards too."""
        paths = [
            path
            for name in self.track_sets
            for path in (self.tracks / name / "index.parquet", self.splits / f"{name}.parquet")
        ]
        return [files.file_digest(path) for path in paths if path.exists()]


def _column(path: Path, schema: pa.Schema, name: str) -> pa.ChunkedArray:
    return tables.read(path, tables.columns(schema, [name]))[name]


def _places(index: Path, dataset: str) -> pa.Table:
    """What TRACK_FRAMES says of the place and the size of every frame; names are stored once."""
    rows = tables.read(index, tables.columns(tables.TRACK_FRAMES, ["shard", "offset", "size", "width_px", "height_px"]))
    names = pa.DictionaryArray.from_arrays(np.zeros(len(rows), np.int32), [dataset])
    rows = rows.set_column(0, "shard", rows["shard"].dictionary_encode())
    return rows.append_column("dataset", names)


def _group(runs: pa.Table, frames: int, stage: str) -> tuple[dict[str, Tracks], tables.Rejects]:
    """Tracks by split, and those that are too short."""
    rejects = tables.Rejects(stage)
    is_long = pc.field("length") >= frames
    for row in runs.filter(~is_long).to_pylist():
        detail = f"a sample needs {frames}, found {row['length']}"
        rejects.add(row["dataset"], row["track_id"], "too few frames", detail)
    long = runs.filter(is_long)
    names = long["split"].unique().to_pylist()
    return {name: _tracks(long.filter(pc.field("split") == name)) for name in names}, rejects


def _tracks(runs: pa.Table) -> Tracks:
    identities, videos = (_numbered(runs[name]) for name in ("identity_id", "video_id"))
    return Tracks.of(identities, videos, runs["first"].to_numpy(), runs["length"].to_numpy())


def _numbered(names: pa.ChunkedArray) -> NDArray[np.int32]:
    """A number for every name, the same for the same name."""
    return names.combine_chunks().dictionary_encode().indices.to_numpy()
