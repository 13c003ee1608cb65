"""Pack frames of the face tracks and the faces that are embedded, for `benchmarks/on_gpu.sh` where only PyTorch is.

The stages up to `split` have to be done. Pictures are compressed anew:

    python -m benchmarks.gpu_pack --data data --profile paper --out .gpu

Writes tracks.npz (the frames of the splits for training and validation, and their tracks), faces.npz (all still images
and their names) and training.json (how to train, and the commit).
"""

import argparse
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import packed, rows
from fabnet.training.pairs import Tracks
from pipelines import profile
from stages.runtime import command, config, tables
from stages.runtime.errors import UserError
from stages.runtime.params import Params
from stages.storage.shards import Shards
from stages.training.trackset import TrackSet, TrackSource

PER_TRACK = 2  # frames that a sample needs
MIB = 2**20

Rows = NDArray[np.int64]


def thinned(tracks: Tracks, every: int) -> list[Rows]:
    """Row numbers of every `every`-th frame of each track, but at least of two."""
    steps = np.clip(tracks.lengths - 1, 1, every)
    places = zip(tracks.first, tracks.lengths, steps, strict=True)
    return [first + np.arange(0, length, step) for first, length, step in places]


def renumbered(tracks: Tracks, lengths: Rows, start: int) -> dict[str, Rows]:
    """The columns of `tracks` for packed frames, the first of which is row `start`."""
    first = start + np.cumsum(lengths) - lengths
    return {"first": first, "lengths": lengths, "videos": tracks.videos, "identities": tracks.identities}


def of_tracks(frames: TrackSet, oversample: Mapping[str, int], every: int, quality: int) -> dict[str, NDArray[Any]]:
    """The content of tracks.npz."""
    columns: dict[str, NDArray[Any]] = {}
    kept: list[Rows] = []
    for split in packed.SPLITS:
        of_split = thinned(frames.tracks[split], every)
        lengths = np.array([len(some) for some in of_split])
        of_frames = renumbered(frames.tracks[split], lengths, sum(map(len, kept)))
        columns |= {f"{split}_{name}": column for name, column in of_frames.items()}
        kept += of_split
    which = np.concatenate(kept)
    files = map(frames.read, which.tolist())
    columns |= {"sizes": frames.sizes[which], "jitter_px": frames.jitter_px[which]}
    return {**compressed(files, quality), "times": frames.times("train", oversample), **columns}


def of_faces(folder: Path, sets: Sequence[str], quality: int) -> dict[str, NDArray[Any]]:
    """The content of faces.npz."""
    files: list[bytes] = []
    datasets: list[str] = []
    ids: list[str] = []
    for name in sorted(sets):
        index = tables.read(folder / name / "index.parquet").sort_by("sample_id")
        places = zip(*(index[column].to_pylist() for column in ("shard", "offset", "size")), strict=True)
        shards = Shards(folder / name)
        files += [shards.read(*place) for place in places]
        datasets += [name] * len(index)
        ids += index["sample_id"].to_pylist()
    return {**compressed(files, quality), "datasets": np.array(datasets), "ids": np.array(ids)}


def compressed(files: Iterable[bytes], quality: int) -> dict[str, NDArray[Any]]:
    """The JPEGs in `files` as smaller ones, one after another, and where each ends."""
    with ThreadPoolExecutor(rows.cores()) as pool:
        smaller = list(pool.map(partial(_compress, quality=quality), files))
    return {"jpeg": np.frombuffer(b"".join(smaller), np.uint8), "ends": np.cumsum([len(file) for file in smaller])}


def _compress(jpeg: bytes, quality: int) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as image:
        image.save(file, "jpeg", quality=quality, optimize=True)
    return file.getvalue()


def pack(data: Path, params: Params, out: Path, *, every: int, quality: int, limit_mib: int) -> None:
    """Write the three files.

    Raises:
        UserError: a table is missing, or the files are too large.
    """
    track_sets = [name for name in params.track_sets if (data / "tracks" / name).is_dir()]
    face_sets = [name for name in params.face_sets if (data / "faces" / name).is_dir()]
    if not track_sets:
        raise UserError(
            f"{data / 'tracks'} has none of {', '.join(params.track_sets)}: run `dvc repro split`, or name with "
            "--data the folder that holds tracks, faces and splits"
        )
    jitter_px = {name: params.pretrain.jitter_px[name] for name in track_sets}
    frames = TrackSource(data / "tracks", data / "splits" / "tracks", track_sets, jitter_px).load(PER_TRACK, "gpu_pack")
    files = {
        packed.TRACKS: of_tracks(frames, params.pretrain.oversample, every, quality),
        packed.FACES: of_faces(data / "faces", face_sets, quality),
    }
    size = sum(column.nbytes for of_file in files.values() for column in of_file.values()) / MIB
    if size > limit_mib:
        raise UserError(f"{size:.0f} MiB, expected at most {limit_mib}: lower --quality, or raise --every or --mib")
    out.mkdir(parents=True, exist_ok=True)
    for name, columns in files.items():
        np.savez(out / name, **columns)
    training = {
        "pretrain": params.pretrain.model_dump(),
        "method": params.method,
        "track_sets": track_sets,
        "commit": rows.current_commit(),
    }
    (out / packed.TRAINING).write_text(json.dumps(training, indent=1, sort_keys=True), encoding="utf-8")
    counts = ", ".join(f"{len(columns['ends'])} of {name.split('.')[0]}" for name, columns in files.items())
    print(f"{counts}, {size:.1f} MiB: {out}")


def main(arguments: list[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds tracks, faces and splits")
    parser.add_argument("--profile", default="paper", help="how to train (default: paper)")
    parser.add_argument("--quality", type=int, default=75, help="of the JPEGs (default: 75)")
    parser.add_argument("--every", type=int, default=1, help="keep every so many frames of a track (default: 1)")
    parser.add_argument("--mib", type=int, default=50, help="largest size of all (default: 50)")
    parser.add_argument("--out", type=Path, default=Path(".gpu"), help="folder to write (default: .gpu)")
    wanted = parser.parse_args(arguments)
    params = config.parsed(profile.text(wanted.profile), wanted.profile)
    pack(wanted.data, params, wanted.out, every=wanted.every, quality=wanted.quality, limit_mib=wanted.mib)


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
