"""Frames of all track data sets as one table in memory, by split, identity, video and track; pixels on demand."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fabnet.training.pairs import Tracks
from stages.runtime import tables
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.shards import Shards

CACHE_BYTES = 2**30  # decoded frames that are kept
TRACK = ("split", "identity_id", "video_id", "dataset", "track_id")  # columns that tell tracks apart


@dataclass
class TrackSet:
    """Row numbers point into `frames`, `sizes` and `jitter_px`."""

    tracks: dict[str, Tracks]  # split -> see fabnet.training.pairs
    frames: pa.Table  # where every frame lies: dataset, shard, offset, size, sample_id
    shards: Mapping[str, Shards]  # by data set
    sizes: NDArray[np.int64]  # (rows, 2) width and height, px
    jitter_px: NDArray[np.int64]  # (rows, 2) range of the random crop's side
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
        dataset, shard, offset, size, sample_id = (column[row].as_py() for column in self.frames.columns)
        try:
            image = media.decode_image(self.shards[dataset].read(shard, offset, size))
        except Rejected as error:
            raise UserError(f"frame {sample_id} in {shard}: {error}; run `dvc repro --force crop`") from None
        with self._lock:
            self._keep(row, image)
        return image

    def datasets(self, split: str) -> set[str]:
        """Data sets that have a track in the split."""
        videos = [video for identity in self.tracks.get(split, {}).values() for video in identity.values()]
        first = [int(frames[0]) for tracks in videos for frames in tracks.values()]
        return set(self.frames["dataset"].take(pa.array(first, pa.int64())).to_pylist())

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
        rows = pa.concat_tables([_rows(self.tracks, self.splits, name) for name in sorted(self.track_sets)])
        rows = rows.sort_by([(name, "ascending") for name in (*TRACK, "frame")]).combine_chunks()
        tracks, rejects = _group(rows, frames, stage)
        for split in needed:
            if not tracks.get(split):
                raise UserError(f"no track of at least {frames} frames in the {split} split: use a larger release")
        return TrackSet(
            tracks,
            rows.select(["dataset", "shard", "offset", "size", "sample_id"]),
            {name: Shards(self.tracks / name) for name in self.track_sets},
            np.stack([rows["width_px"].to_numpy(), rows["height_px"].to_numpy()], axis=1).astype(np.int64),
            np.array([self.jitter_px[name] for name in rows["dataset"].to_pylist()], np.int64),
            rejects,
        )

    def table_bytes(self) -> list[bytes]:
        """The tables that are there; they name every frame by its digest, so they stand for the shards too."""
        tables_of = [
            (self.tracks / name / "index.parquet", self.splits / f"{name}.parquet") for name in self.track_sets
        ]
        return [path.read_bytes() for pair in tables_of for path in pair if path.exists()]


def _rows(folder: Path, splits: Path, dataset: str) -> pa.Table:
    """TRACK_FRAMES of one data set with the columns `split` and `dataset`."""
    index = tables.read(folder / dataset / "index.parquet", tables.TRACK_FRAMES)
    split_of = tables.read(splits / f"{dataset}.parquet", tables.SPLITS).select(["sample_id", "split"])
    rows = index.drop_columns("sha256").join(split_of, "sample_id", join_type="inner")
    if rows.num_rows != index.num_rows:
        raise UserError(f"{splits / dataset}.parquet does not cover every frame of {dataset}: run `dvc repro split`")
    return rows.append_column("dataset", pa.array([dataset] * rows.num_rows, pa.string()))


def _group(rows: pa.Table, frames: int, stage: str) -> tuple[dict[str, Tracks], tables.Rejects]:
    """Row numbers by split, identity, video and track, and the tracks that are too short; `rows` sorted by TRACK."""
    runs = rows.group_by(list(TRACK), use_threads=False).aggregate([([], "count_all")])  # in order of appearance
    tracks: dict[str, Any] = {}
    rejects = tables.Rejects(stage)
    start = 0
    for split, identity, video, dataset, track, count in zip(*runs.to_pydict().values(), strict=True):
        if count < frames:
            rejects.add(dataset, track, "too few frames", f"a sample needs {frames}, found {count}")
        else:
            videos = tracks.setdefault(split, {}).setdefault(identity, {})
            videos.setdefault(video, {})[f"{dataset}/{track}"] = np.arange(start, start + count)
        start += count
    return tracks, rejects
