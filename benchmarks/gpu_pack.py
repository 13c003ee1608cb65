"""Pack frames of the face tracks into one file for `benchmarks/gpu_training.py`, which runs where only PyTorch is.

The stages `crop` and `split` have to be done. Tracks are thinned evenly until the file is small enough:

    python -m benchmarks.gpu_pack --profile paper --out .gpu
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines import profile
from stages.runtime import command, config
from stages.runtime.errors import UserError
from stages.runtime.params import Params
from stages.training.trackset import TrackSet, TrackSource

SPLITS = ("train", "val")
PER_TRACK = 2  # frames of a track that stay at least: a sample needs so many
MIB = 2**20

Rows = NDArray[np.int64]
# split, identity, video and track of some rows of the frame table
Group = tuple[str, str, str, str, Rows]


def groups(frames: TrackSet, every: int) -> list[Group]:
    """The tracks of training and validation, each with every `every`-th of its frames."""
    return [
        (split, identity, video, track, thinned(rows, every))
        for split in SPLITS
        for identity, videos in frames.tracks[split].items()
        for video, tracks in videos.items()
        for track, rows in tracks.items()
    ]


def thinned(rows: Rows, every: int) -> Rows:
    """Every `every`-th row, but at least PER_TRACK of them."""
    kept = rows[::every]
    return kept if len(kept) >= PER_TRACK else rows[:: max(1, (len(rows) - 1) // (PER_TRACK - 1))][:PER_TRACK]


def fitting(frames: TrackSet, limit_bytes: int) -> list[Group]:
    """The densest selection of frames that is not larger than the limit.

    Raises:
        UserError: even PER_TRACK frames of each track are larger.
    """
    size = frames.frames["size"].to_numpy()
    longest = max(len(rows) for *_, rows in groups(frames, 1))
    for every in range(1, longest + 1):
        chosen = groups(frames, every)
        if sum(size[rows].sum() for *_, rows in chosen) <= limit_bytes:
            return chosen
    raise UserError(f"even two frames of each track take more than {limit_bytes / MIB:.0f} MiB: raise --mib")


def pack(frames: TrackSet, params: Params, limit_bytes: int, out: Path) -> None:
    """Write tracks.npz (JPEG bytes, where each ends, and whose they are) and training.json (how to train)."""
    chosen = fitting(frames, limit_bytes)
    rows = np.concatenate([rows for *_, rows in chosen])
    columns = [frames.frames[name].take(rows).to_pylist() for name in ("dataset", "shard", "offset", "size")]
    files = [frames.shards[dataset].read(*place) for dataset, *place in zip(*columns, strict=True)]
    names = np.repeat(np.array([names for *names, _ in chosen]), [len(rows) for *_, rows in chosen], axis=0)
    out.mkdir(parents=True, exist_ok=True)
    np.savez(
        out / "tracks.npz",
        jpeg=np.frombuffer(b"".join(files), np.uint8),
        ends=np.cumsum([len(file) for file in files]),
        names=names,
        sizes=frames.sizes[rows],
        jitter_px=frames.jitter_px[rows],
    )
    training = {"pretrain": params.pretrain.model_dump(), "method": params.method, "track_sets": params.track_sets}
    (out / "training.json").write_text(json.dumps(training, indent=1, sort_keys=True), encoding="utf-8")
    print(f"{len(files)} frames of {len(chosen)} tracks, {(out / 'tracks.npz').stat().st_size / MIB:.1f} MiB: {out}")


def main(arguments: list[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=Path, default=Path("data/tracks"), help="made by `crop`")
    parser.add_argument("--splits", type=Path, default=Path("data/splits/tracks"), help="made by `split`")
    parser.add_argument("--profile", default="paper", help="how to train (default: paper)")
    parser.add_argument("--mib", type=int, default=50, help="largest size of the file (default: 50)")
    parser.add_argument("--out", type=Path, default=Path(".gpu"), help="folder to write (default: .gpu)")
    wanted = parser.parse_args(arguments)
    params = config.parsed(profile.text(wanted.profile), wanted.profile)
    sets = [name for name in params.track_sets if (wanted.tracks / name).is_dir()]
    if not sets:
        raise UserError(f"{wanted.tracks} has none of {', '.join(params.track_sets)}: run `dvc repro split` first")
    jitter_px = {name: params.pretrain.jitter_px[name] for name in sets}
    frames = TrackSource(wanted.tracks, wanted.splits, sets, jitter_px).load(PER_TRACK, "gpu_pack")
    pack(frames, params.model_copy(update={"track_sets": sets}), wanted.mib * MIB, wanted.out)


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
