"""Splitting, loading and drawing from tables of millions of frames: in columns, and with Python objects.

Seconds are of processor time, all threads together, so that other work on the machine disturbs them little.
"""

import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import former, indexes
from benchmarks.rows import Row, apart
from fabnet.modules.frame_choice import Choice
from fabnet.training import pairs
from stages import split
from stages.runtime.params import SplitParams
from stages.training.trackset import TrackSource

SHARES = SplitParams(track_val=0.15, track_test=0.1, faces={})
JITTER_PX = {"voxceleb1": (170, 190), "voxceleb2": (180, 200)}
FRAMES, DRAWS = 2, 100_000
PLAIN = "Python objects"  # what we are compared with


def compare(wanted: Namespace) -> Iterator[Row]:
    """Rows for about `wanted.frames` frames."""
    size = f"{wanted.frames:,} frames"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(write, folder, wanted.frames)
        for what, unit, ours, plain in (
            (f"split of {size}", "s of a processor", split_columns, split_plainly),
            (f"load of {size}", "s of a processor", load_columns, load_plainly),
            (f"{DRAWS:,} draws from {size}", "s of a processor", draw_columns, draw_plainly),
        ):
            comparison, mine = apart(plain, folder), apart(ours, folder)
            yield Row("columns", what, unit, PLAIN, mine.value, comparison.value, mine.peak_gb, comparison.peak_gb)


def write(folder: Path, frames: int) -> float:
    start = time.process_time()
    indexes.write_indexes(folder / "tracks", frames)
    return time.process_time() - start


def split_columns(folder: Path) -> float:
    start = time.process_time()
    split.run(
        tracks=folder / "tracks",
        faces=folder,
        track_splits=folder / "splits",
        face_splits=folder / "faces",
        seed=0,
        track_sets=list(JITTER_PX),
        face_sets=[],
        split=SHARES,
    )
    return time.process_time() - start


def split_plainly(folder: Path) -> float:
    start = time.process_time()
    former.split_tracks(folder / "tracks", folder / "plain", list(JITTER_PX), SHARES, seed=0)
    return time.process_time() - start


def load_columns(folder: Path) -> float:
    start = time.process_time()
    source(folder).load(FRAMES, "pretrain")
    return time.process_time() - start


def load_plainly(folder: Path) -> float:
    start = time.process_time()
    former.load(folder / "tracks", folder / "splits", JITTER_PX)
    return time.process_time() - start


def draw_columns(folder: Path) -> float:
    frames = source(folder).load(FRAMES, "pretrain")
    tracks = frames.tracks["train"]
    draws = -(-DRAWS // len(tracks))
    rng = np.random.default_rng(0)
    start = time.process_time()
    drawn = pairs.draw(tracks, frames.sizes, frames.jitter_px, choice=Choice(FRAMES), draws_per_identity=draws, rng=rng)
    return (time.process_time() - start) * DRAWS / len(drawn.frames)


def draw_plainly(folder: Path) -> float:
    loaded = former.load(folder / "tracks", folder / "splits", JITTER_PX)
    draws = -(-DRAWS // len(loaded.tracks["train"]))
    rng = np.random.default_rng(0)
    start = time.process_time()
    rows, _ = former.draw(loaded, "train", frames=FRAMES, draws_per_identity=draws, rng=rng)
    return (time.process_time() - start) * DRAWS / len(rows)


def source(folder: Path) -> TrackSource:
    return TrackSource(folder / "tracks", folder / "splits", list(JITTER_PX), JITTER_PX)
