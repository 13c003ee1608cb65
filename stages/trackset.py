"""Frames of all track data sets as one table in memory, by part, identity, video and track; pixels on demand."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fabnet.pairs import Tracks
from stages import media, tables
from stages.errors import Rejected, UserError
from stages.shards import Shards

CACHE_BYTES = 2**30  # decoded frames that are kept


@dataclass
class TrackSet:
    """Row numbers point into `places`, `sizes` and `jitter_px`."""

    tracks: dict[str, Tracks]  # part -> see fabnet.pairs
    places: list[tuple[Shards, str, int, int, str]]  # shards, shard, offset, size, sample_id
    sizes: NDArray[np.int64]  # (rows, 2) width and height, px
    jitter_px: NDArray[np.int64]  # (rows, 2) range of the random crop's side
    rejects: list[dict[str, str]]
    _cache: OrderedDict[int, NDArray[np.uint8]] = field(default_factory=OrderedDict[int, NDArray[np.uint8]])
    _cached_bytes: int = 0
    _lock: Any = field(default_factory=Lock)

    @classmethod
    def load(
        cls, folder: Path, splits: Path, datasets: list[str], jitter_px: Mapping[str, tuple[int, int]], *, frames: int
    ) -> "TrackSet":
        """All tracks of `datasets` that have at least `frames` frames; shorter ones become rejects.

        Raises:
            UserError: a table is missing, or the training or validation part has no track.
        """
        rows = pa.concat_tables([_rows(folder, splits, name) for name in sorted(datasets)])
        columns: dict[str, list[Any]] = rows.to_pydict()
        jitter = np.array([jitter_px[name] for name in columns["dataset"]], np.int64)
        sizes = np.array([columns["width_px"], columns["height_px"]], np.int64).T
        tracks, rejects = _group(columns, frames)
        for part in ("train", "val"):
            if not tracks.get(part):
                raise UserError(f"no track of at least {frames} frames in the {part} part: use a larger release")
        shards = {name: Shards(folder / name) for name in datasets}
        names = ("dataset", "shard", "offset", "size", "sample_id")
        places = [(shards[name], *rest) for name, *rest in zip(*(columns[key] for key in names), strict=True)]
        return cls(tracks, places, sizes, jitter, rejects)

    def image(self, row: int) -> NDArray[np.uint8]:
        """RGB frame (H, W, 3) of one row; the most recently used frames stay decoded. Safe between threads.

        Raises:
            UserError: the frame cannot be decoded, though `crop` wrote it.
        """
        with self._lock:
            if row in self._cache:
                self._cache.move_to_end(row)
                return self._cache[row]
        shards, shard, offset, size, sample_id = self.places[row]
        try:
            image = np.ascontiguousarray(media.decode_image(shards.read(shard, offset, size))[..., ::-1])
        except Rejected as error:
            raise UserError(f"frame {sample_id} in {shard}: {error}; run `dvc repro --force crop`") from None
        with self._lock:
            self._keep(row, image)
        return image

    def _keep(self, row: int, image: NDArray[np.uint8]) -> None:
        if row not in self._cache:
            self._cache[row] = image
            self._cached_bytes += image.nbytes
        while self._cached_bytes > CACHE_BYTES:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes


def _rows(folder: Path, splits: Path, dataset: str) -> pa.Table:
    """TRACK_FRAMES of one data set with the columns `part` and `dataset`."""
    index = tables.read(folder / dataset / "index.parquet", tables.TRACK_FRAMES)
    parts = tables.read(splits / f"{dataset}.parquet", tables.SPLITS).select(["sample_id", "part"])
    rows = index.join(parts, "sample_id", join_type="inner")
    if rows.num_rows != index.num_rows:
        raise UserError(f"{splits / dataset}.parquet does not cover every frame of {dataset}: run `dvc repro split`")
    return rows.append_column("dataset", pa.array([dataset] * rows.num_rows)).sort_by("sample_id")


def _group(columns: dict[str, list[Any]], frames: int) -> tuple[dict[str, Tracks], list[dict[str, str]]]:
    """Rows by part, identity, video and track, in the order of frames; and the tracks that are too short."""
    members: dict[tuple[str, ...], list[int]] = {}
    names = ("part", "identity_id", "video_id", "dataset", "track_id")
    for row, key in enumerate(zip(*(columns[name] for name in names), strict=True)):
        members.setdefault(key, []).append(row)
    tracks: dict[str, Any] = {}
    rejects: list[dict[str, str]] = []
    for (part, identity, video, dataset, track), rows in members.items():
        if len(rows) < frames:
            reason = f"too few frames: a sample needs {frames}, found {len(rows)}"
            rejects.append({"dataset": dataset, "key": track, "stage": "pretrain", "reason": reason})
            continue
        ordered = np.array(sorted(rows, key=lambda row: columns["frame"][row]), np.int64)
        tracks.setdefault(part, {}).setdefault(identity, {}).setdefault(video, {})[f"{dataset}/{track}"] = ordered
    return tracks, rejects
