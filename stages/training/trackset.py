"""Frames of all track data sets in columns, by split, identity, video and track; pixels on demand."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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

SIDES = ("width_px", "height_px")


@dataclass(frozen=True)
class Places:
    """Where every frame lies, in columns."""

    shards: Sequence[tuple[str, str]]  # data set and name of each shard
    shard: NDArray[np.int32]  # (rows,) which of them
    offset: NDArray[np.int64]  # (rows,) of the JPEG's first byte
    size: NDArray[np.int64]  # (rows,) bytes

    @classmethod
    def of(cls, indexes: Mapping[str, pa.Table]) -> "Places":
        """Rows of several data sets, one after another, from columns of TRACK_FRAMES; `shard` is a dictionary."""
        shards: list[tuple[str, str]] = []
        numbers: list[NDArray[np.int32]] = []
        for dataset, index in indexes.items():
            for names in index["shard"].chunks:
                numbers.append(names.indices.to_numpy() + np.int32(len(shards)))
                shards += [(dataset, name) for name in names.dictionary.to_pylist()]
        offset, size = (
            np.concatenate([index[name].to_numpy() for index in indexes.values()]) for name in ("offset", "size")
        )
        return cls(shards, np.concatenate(numbers), offset, size)


@dataclass(frozen=True)
class TrackSet:
    """Row numbers point into `places`, `sizes` and `jitter_px`."""

    tracks: dict[str, Tracks]  # by split
    places: Places  # of all frames, by data set and name
    shards: Mapping[str, Shards]  # by data set
    sizes: NDArray[np.int32]  # (rows, 2) width and height, px
    jitter_px: NDArray[np.int32]  # (rows, 2) range of the random crop's side
    rejects: tables.Rejects

    def image(self, row: int) -> NDArray[np.uint8]:
        """RGB frame (H, W, 3) of one row. Safe between threads.

        Raises:
            UserError: the frame cannot be decoded, though `crop` wrote it.
        """
        jpeg = self.read(row)
        with self.blamed(row):
            return media.decode_stored(jpeg)

    @contextmanager
    def blamed(self, row: int) -> Generator[None]:
        """What is rejected within becomes a UserError that names the frame."""
        try:
            yield
        except Rejected as error:
            dataset, shard = self._shard(row)
            where = f"{dataset}, frame at {self.places.offset[row]} in {shard}"
            raise UserError(f"{where}: {error}; run `dvc repro --force crop`") from None

    def read(self, row: int) -> bytes:
        """JPEG of one row. Safe between threads."""
        dataset, shard = self._shard(row)
        return self.shards[dataset].read(shard, int(self.places.offset[row]), int(self.places.size[row]))

    def times(self, split: str, oversample: Mapping[str, int]) -> NDArray[np.int64]:
        """(I,) how often each identity of the split is drawn, by its data set; of several the largest number counts."""
        of_shard = np.array([oversample.get(dataset, 1) for dataset, _ in self.places.shards])
        tracks = self.tracks[split]
        starts = tracks.videos[tracks.identities[:-1]]
        return np.maximum.reduceat(of_shard[self.places.shard[tracks.first]], starts)

    def datasets(self, split: str) -> set[str]:
        """Data sets that have a track in the split."""
        if split not in self.tracks:
            return set()
        return {self.places.shards[number][0] for number in np.unique(self.places.shard[self.tracks[split].first])}

    def _shard(self, row: int) -> tuple[str, str]:
        return self.places.shards[self.places.shard[row]]


@dataclass(frozen=True)
class TrackSource:
    """Where the frames of track data sets are, and how they are cropped in training."""

    tracks: Path  # a folder of shards and TRACK_FRAMES for each data set
    splits: Path  # a SPLITS table for each data set
    track_sets: Sequence[str]
    jitter_px: Mapping[str, tuple[int, int]]  # per data set: range of the random square crop's side

    def load(
        self,
        frames: int,
        stage: str,
        needed: Sequence[str] = ("train", "val"),
        instead: str = "use a larger release",
    ) -> TrackSet:
        """All tracks that have at least `frames` frames; shorter ones become rejects of `stage`.

        Raises:
            UserError: a table is missing, or one of the `needed` splits has no track; then do `instead`.
        """
        names = sorted(self.track_sets)
        indexes = {name: _index(self.tracks / name / "index.parquet") for name in names}
        starts = np.cumsum([0, *(len(index) for index in indexes.values())])
        runs = pa.concat_tables([self._runs(name, int(start)) for name, start in zip(names, starts, strict=False)])
        tracks, rejects = _group(runs, frames, stage)
        for split in needed:
            if split not in tracks:
                longest = max(runs.filter(pc.field("split") == split)["length"].to_pylist(), default=0)
                found = f"the longest has {longest}"
                raise UserError(f"no track of at least {frames} frames in the {split} split, {found}: {instead}")
        sizes = [np.stack([index[side].to_numpy() for side in SIDES], axis=1) for index in indexes.values()]
        return TrackSet(
            tracks,
            Places.of(indexes),
            {name: Shards(self.tracks / name) for name in names},
            np.concatenate(sizes),
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


def _index(path: Path) -> pa.Table:
    """What TRACK_FRAMES says of the place and the size of every frame; names of shards are stored once."""
    rows = tables.read(path, tables.columns(tables.TRACK_FRAMES, ["shard", "offset", "size", *SIDES]))
    return rows.set_column(0, "shard", rows["shard"].combine_chunks().dictionary_encode())


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
