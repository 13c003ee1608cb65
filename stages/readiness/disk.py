"""Disk space: what is known of what a run writes, against what is free. The estimates are those of docs/real-data.md.

Embeddings, models and everything of synthetic releases are small: FLOOR_GB is kept free for them.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.acquisition import hosts
from stages.readiness.releases import Source
from stages.runtime.errors import UserError
from stages.runtime.params import Params

FLOOR_GB = 2.0
GB = 1e9
IMAGE_GB = 18_000 / GB  # of a stored crop, 256 px: the largest mean that was measured
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Whole:
    """A whole release of face tracks."""

    release_gb: float  # of the smallest form
    stored_gb_per_fps: float
    most_fps: float  # frames that the release has of each second


TRACKS = {"voxceleb1": Whole(7.8, 21.0, 4.0), "voxceleb2": Whole(250.0, 93.0, 25.0)}


@dataclass(frozen=True)
class Use:
    """Space that a run will take."""

    what: str
    path: Path
    gb: float


def uses(
    source: Source, params: Params, cut: Mapping[str, Path], journal: Path, environment: Mapping[str, str]
) -> Iterator[Use]:
    """What one release will take: its download, its archives unpacked, its crops. What is there already counts not."""
    name, kind = source.dataset, source.fetch.source
    if kind == "synthetic":
        return
    is_from_owner = kind == "http" and hosts.mirror(name, environment) is None  # a mirror may hold anything
    if is_from_owner:
        yield Use(f"download {name}", source.folder, sum(entry.size or 0 for entry in source.missing) / GB)
    if kind == "folder" and not source.is_fetched:
        packed = sum(path.stat().st_size for archive in source.archives for path in archive.paths)
        yield Use(f"unpack {name}", journal, packed / GB)
    if not cut[name].exists():
        is_tracks = name in params.track_sets
        done = _size_gb(journal / "crop" / name) if is_tracks else 0.0
        stored = _frames_gb(source, params.crop.fps, is_from_owner=is_from_owner) if is_tracks else _faces_gb(source)
        yield Use(f"crop {name}", cut[name], max(stored - done, 0.0))


def check(root: Path, uses: Iterable[Use]) -> None:
    """Compare the sum of `uses` with the free space of each disk.

    Raises:
        UserError: a disk has too little.
    """
    by_disk: defaultdict[int, list[Use]] = defaultdict(list)
    for use in (Use("", root, FLOOR_GB), *uses):
        by_disk[_existing(use.path).stat().st_dev].append(use)
    sentences = [sentence for on_disk in by_disk.values() if (sentence := _too_little(on_disk))]
    if sentences:
        raise UserError("; ".join(sentences))


def _too_little(on_disk: list[Use]) -> str:
    """The sentence about one disk; empty if it has enough room."""
    place = _existing(on_disk[0].path).resolve()
    free_gb, needed_gb = shutil.disk_usage(place).free / GB, sum(use.gb for use in on_disk)
    if free_gb >= needed_gb:
        return ""
    parts = ", ".join(f"{use.gb:.0f} GB to {use.what}" for use in on_disk if use.what and use.gb >= 1)
    needed = f"about {needed_gb:.0f} GB are needed{f' ({parts})' if parts else ''}"
    return f"the disk of {place} has {free_gb:.1f} GB free, {needed}: make room, or move the folder to a larger disk"


def _frames_gb(source: Source, fps: float, *, is_from_owner: bool) -> float:
    """Of the files that are there or, if the owner's are still to be downloaded, of the whole release."""
    whole = TRACKS.get(source.dataset)
    if whole is None:
        return 0.0
    present_gb = sum(path.stat().st_size for path in source.files.values() if path.is_file()) / GB
    if is_from_owner and not (source.fetch.parts or source.fetch.identities):
        present_gb = whole.release_gb
    return whole.stored_gb_per_fps * min(fps, whole.most_fps) * min(present_gb / whole.release_gb, 1.0)


def _faces_gb(source: Source) -> float:
    return IMAGE_GB * sum(name.lower().endswith(IMAGES) for name in source.files)


def _size_gb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / GB


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())
