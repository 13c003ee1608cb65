"""Indexes of VoxCeleb at its real size, without pixels: what the stages after `crop` have to hold.

    python -m benchmarks.indexes data/rehearsal --frames 9000000

Names, counts and lengths are drawn so that there are about as many identities, videos and tracks as in VoxCeleb1 and
VoxCeleb2 together; with fewer frames there are fewer of all. The same options give the same bytes.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.runtime import command, tables

FRAMES = 9_000_000  # one a second of all clips
LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)
VIDEO_NAME = 11  # letters of a video's name
SIDE_PX, JPEG_BYTES, SHARD_BYTES = 224, (8_000, 16_000), 2**28
ROW_GROUP = 2**20

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Release:
    """How much of everything a whole release has."""

    first_identity: int
    identities: int
    videos: int
    tracks: int


RELEASES = {
    "voxceleb1": Release(10_001, 1_251, 22_496, 153_516),
    "voxceleb2": Release(1, 6_112, 150_480, 1_128_246),
}
IMAGES = {
    "affectnet": 291_000,
    "aflw": 24_000,
    "emotionet": 929_000,
    "mafl": 20_000,
    "w300": 3_500,
}  # about, with labels
DETECTED = ("affectnet", "emotionet")  # by `detect`, the others by `index`
TRACKS = sum(release.tracks for release in RELEASES.values())


def write_indexes(folder: Path, frames: int) -> None:
    """One TRACK_FRAMES table per release, with about `frames` frames in all."""
    for seed, (name, release) in enumerate(RELEASES.items()):
        rng = np.random.default_rng(seed)
        path = folder / name / "index.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        tracks = draw_tracks(release, frames / FRAMES, rng)
        schema = tables.TRACK_FRAMES.with_metadata({tables.VERSION: tables.SCHEMA_VERSION})
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for rows in frames_of(tracks, rng):
                writer.write_table(rows.cast(schema))


def draw_tracks(release: Release, share: float, rng: np.random.Generator) -> pa.Table:
    """Tracks by name with their numbers of frames: every identity has a video, every video a track."""
    identities, videos, tracks = (
        max(1, round(share * count)) for count in (release.identities, release.videos, release.tracks)
    )
    of_video = np.sort(dealt(videos, identities, rng))
    of_track = np.sort(dealt(tracks, videos, rng))
    first = np.searchsorted(of_track, of_track)
    identity = texts(np.arange(identities) + release.first_identity, "id", 5).take(pa.array(of_video[of_track]))
    video = names(videos, rng).take(pa.array(of_track))
    number = texts(np.arange(len(of_track)) - first + 1, "", 5)
    lengths = 2 + rng.poisson(FRAMES / TRACKS - 2, len(of_track))
    columns = {"identity_id": identity, "video_id": video, "track_id": joined(identity, video, number)}
    return pa.table({**columns, "frames": lengths}).sort_by("track_id")


def dealt(items: int, groups: int, rng: np.random.Generator) -> Ints:
    """The group of every item; none is empty if there are enough items."""
    return np.concatenate([np.arange(groups), rng.integers(0, groups, max(0, items - groups))])


def frames_of(tracks: pa.Table, rng: np.random.Generator) -> Iterator[pa.Table]:
    """Rows of TRACK_FRAMES of some tracks at a time; JPEG files lie one after the other in shards."""
    at = 0
    ends = np.cumsum(tracks["frames"].to_numpy())
    cuts = np.searchsorted(ends, np.arange(ROW_GROUP, ends[-1] + ROW_GROUP, ROW_GROUP), side="right")
    for start, end in zip([0, *cuts[:-1]], cuts, strict=True):
        some = tracks.slice(start, end - start).combine_chunks()
        lengths = some["frames"].to_numpy()
        track = np.repeat(np.arange(len(lengths)), lengths)
        number = 25 * (np.arange(len(track)) - np.repeat(np.cumsum(lengths) - lengths, lengths))
        rows = some.select(["identity_id", "video_id", "track_id"]).take(pa.array(track))
        size = rng.integers(*JPEG_BYTES, len(track))
        offset = at + np.cumsum(1024 + size) - size
        at = int(offset[-1] + size[-1])
        yield pa.table({
            "sample_id": joined(rows["track_id"].combine_chunks(), texts(number, "", 6)),
            **{name: rows[name] for name in rows.column_names},
            "frame": number.astype(np.int32),
            "shard": joined(texts(offset // SHARD_BYTES, "", 5), separator="", end=".tar"),
            "offset": offset % SHARD_BYTES,
            "size": size,
            "sha256": digests(len(track), rng),
            "width_px": np.full(len(track), SIDE_PX, np.int32),
            "height_px": np.full(len(track), SIDE_PX, np.int32),
        })  # fmt: skip


def texts(numbers: Ints, start: str, digits: int) -> pa.Array:
    """Numbers with leading zeros after `start`."""
    return joined(start, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), digits, "0"), separator="")


def joined(*parts: pa.Array | str, separator: str = "/", end: str = "") -> pa.Array:
    """The parts of every row as one text."""
    return pc.binary_join_element_wise(*parts, *([end] if end else []), separator)


def names(count: int, rng: np.random.Generator) -> pa.Array:
    """Names of videos as YouTube gives them."""
    return fixed_width(LETTERS[rng.integers(0, len(LETTERS), (count, VIDEO_NAME))])


def digests(count: int, rng: np.random.Generator) -> pa.Array:
    """Hexadecimal digits of random SHA-256."""
    return fixed_width(np.frombuffer(rng.bytes(32 * count).hex().encode(), np.uint8).reshape(count, 64))


def fixed_width(letters: NDArray[np.uint8]) -> pa.Array:
    """ASCII letters (N, L) as N texts."""
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * letters.shape[1]
    return pa.StringArray.from_buffers(len(letters), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters)))


def main(arguments: list[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write, one table per release in it")
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"about how many (default: {FRAMES})")
    wanted = parser.parse_args(arguments)
    write_indexes(wanted.folder, wanted.frames)


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
