"""The plain way with a Python object for every name and track, which `benchmarks/columns.py` compares with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet.modules.crops import draw_squares
from stages.runtime import tables
from stages.runtime.params import SplitParams
from stages.split import position

TRACK = ("split", "identity_id", "video_id", "dataset", "track_id")

# identity -> video -> track -> row numbers
Tracks = Mapping[str, Mapping[str, Mapping[str, NDArray[np.int64]]]]


@dataclass
class Loaded:
    """All frames."""

    tracks: dict[str, Tracks]  # by split
    frames: pa.Table
    sizes: NDArray[np.int64]
    jitter_px: NDArray[np.int64]


def split_tracks(indexes: Path, out: Path, track_sets: Sequence[str], params: SplitParams, *, seed: int) -> None:
    """A SPLITS table for each data set."""
    of_tracks = {name: _split(indexes / name / "index.parquet", params, seed) for name in sorted(track_sets)}
    counts = Counter(split for table in of_tracks.values() for split in table["split"].to_pylist())
    if not all(counts[name] for name in tables.SPLIT_NAMES):
        raise ValueError("a split is empty")
    for name, table in of_tracks.items():
        _write(out / f"{name}.parquet", table)


def _split(index: Path, params: SplitParams, seed: int) -> Any:
    table = pq.read_table(index)
    identities = table["identity_id"].to_pylist()
    split_of = {name: _of_identity(position(seed, name), params) for name in set(identities)}
    splits = [split_of[name] for name in identities]
    columns = {"sample_id": table["sample_id"].to_pylist(), "group_id": identities, "split": splits}
    return pa.table(columns, schema=tables.SPLITS)


def _of_identity(at: float, params: SplitParams) -> str:
    if at < params.track_test:
        return "test"
    return "val" if at < params.track_test + params.track_val else "train"


def _write(path: Path, table: Any) -> None:
    table = table.sort_by([("sample_id", "ascending")])
    if table.group_by(["sample_id"]).aggregate([]).num_rows != table.num_rows:
        raise ValueError("sample_id should be unique")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({tables.VERSION: tables.SCHEMA_VERSION}), path, compression="zstd")


def load(folder: Path, splits: Path, jitter_px: Mapping[str, tuple[int, int]]) -> Loaded:
    """One sorted table of all frames, and dictionaries of tracks."""
    rows = pa.concat_tables([_rows(folder, splits, name) for name in sorted(jitter_px)])
    rows = rows.sort_by([(name, "ascending") for name in (*TRACK, "frame")]).combine_chunks()
    return Loaded(
        _group(rows),
        rows.select(["dataset", "shard", "offset", "size", "sample_id"]),
        np.stack([rows["width_px"].to_numpy(), rows["height_px"].to_numpy()], axis=1).astype(np.int64),
        np.array([jitter_px[name] for name in rows["dataset"].to_pylist()], np.int64),
    )


def _rows(folder: Path, splits: Path, dataset: str) -> pa.Table:
    index = pq.read_table(folder / dataset / "index.parquet")
    split_of = pq.read_table(splits / f"{dataset}.parquet").select(["sample_id", "split"])
    rows = index.drop_columns("sha256").join(split_of, "sample_id", join_type="inner")
    return rows.append_column("dataset", pa.array([dataset] * rows.num_rows, pa.string()))


def _group(rows: pa.Table) -> dict[str, Tracks]:
    runs = rows.group_by(list(TRACK)).aggregate([([], "count_all")])  # in any order
    runs = runs.sort_by([(name, "ascending") for name in TRACK])
    tracks: dict[str, Any] = {}
    start = 0
    for split, identity, video, dataset, track, count in zip(*runs.to_pydict().values(), strict=True):
        videos = tracks.setdefault(split, {}).setdefault(identity, {})
        videos.setdefault(video, {})[f"{dataset}/{track}"] = np.arange(start, start + count)
        start += count
    return tracks


def draw(
    loaded: Loaded, split: str, *, frames: int, draws_per_identity: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """One epoch of samples: rows (N, F) and boxes (N * F, 4)."""
    tracks = loaded.tracks[split]
    identities = sorted(tracks)
    order = rng.permutation(np.repeat(np.arange(len(identities)), draws_per_identity))
    rows = np.stack([_sample(tracks[identities[i]], frames, rng) for i in order])
    return rows, draw_squares(loaded.sizes[rows.ravel()], loaded.jitter_px[rows.ravel()], rng)


def _sample(videos: Mapping[str, Mapping[str, NDArray[np.int64]]], frames: int, rng: np.random.Generator) -> Any:
    video = videos[sorted(videos)[rng.integers(len(videos))]]
    track = video[sorted(video)[rng.integers(len(video))]]
    return rng.choice(track, size=frames, replace=False)
