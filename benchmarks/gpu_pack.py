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

from fabnet.training.pairs import Tracks
from pipelines import profile
from stages.runtime import command, config
from stages.runtime.errors import UserError
from stages.runtime.params import Params
from stages.training.trackset import TrackSet, TrackSource

SPLITS = ("train", "val")
PER_TRACK = 2  # frames of a track that stay at least: a sample needs so many
MIB = 2**20

Rows = NDArray[np.int64]


def thinned(length: int, every: int) -> Rows:
    """Every `every`-th of the frames of a track, but at least PER_TRACK of them."""
    kept = np.arange(0, length, every)
    return kept if len(kept) >= PER_TRACK else np.arange(0, length, max(1, (length - 1) // (PER_TRACK - 1)))[:PER_TRACK]


def chosen(tracks: Tracks, every: int) -> list[Rows]:
    """Row numbers of the frames of each track that stay."""
    places = zip(tracks.first, tracks.lengths.tolist(), strict=True)
    return [first + thinned(length, every) for first, length in places]


def fitting(frames: TrackSet, limit_bytes: int) -> dict[str, list[Rows]]:
    """The densest selection of frames, by split and track, that is not larger than the limit.

    Raises:
        UserError: even PER_TRACK frames of each track are larger.
    """
    size = frames.places.size
    longest = max(int(frames.tracks[split].lengths.max()) for split in SPLITS)
    for every in range(1, longest + 1):
        rows = {split: chosen(frames.tracks[split], every) for split in SPLITS}
        if sum(size[some].sum() for of_tracks in rows.values() for some in of_tracks) <= limit_bytes:
            return rows
    raise UserError(f"even two frames of each track take more than {limit_bytes / MIB:.0f} MiB: raise --mib")


def renumbered(tracks: Tracks, lengths: Rows, start: int) -> dict[str, Rows]:
    """The columns of `tracks` for packed frames, the first of which is row `start`."""
    first = start + np.cumsum(lengths) - lengths
    return {"first": first, "lengths": lengths, "videos": tracks.videos, "identities": tracks.identities}


def pack(frames: TrackSet, params: Params, sets: list[str], limit_bytes: int, out: Path) -> None:
    """Write tracks.npz (JPEG bytes, where each ends, and the tracks) and training.json (how to train)."""
    of_split = fitting(frames, limit_bytes)
    rows = np.concatenate([some for of_tracks in of_split.values() for some in of_tracks])
    files = [frames.read(row) for row in rows]
    packed: dict[str, Rows] = {}
    start = 0
    for split, of_tracks in of_split.items():
        lengths = np.array([len(some) for some in of_tracks])
        of_frames = renumbered(frames.tracks[split], lengths, start)
        packed |= {f"{split}_{name}": column for name, column in of_frames.items()}
        start += int(lengths.sum())
    out.mkdir(parents=True, exist_ok=True)
    np.savez(
        out / "tracks.npz",
        jpeg=np.frombuffer(b"".join(files), np.uint8),
        ends=np.cumsum([len(file) for file in files]),
        sizes=frames.sizes[rows],
        jitter_px=frames.jitter_px[rows],
        **packed,
    )
    training = {"pretrain": params.pretrain.model_dump(), "method": params.method, "track_sets": sets}
    (out / "training.json").write_text(json.dumps(training, indent=1, sort_keys=True), encoding="utf-8")
    size = (out / "tracks.npz").stat().st_size / MIB
    print(f"{len(files)} frames of {sum(map(len, of_split.values()))} tracks, {size:.1f} MiB: {out}")


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
    pack(frames, params, sets, wanted.mib * MIB, wanted.out)


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
