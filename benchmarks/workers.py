"""`crop` and `detect` with two workers against one. Seconds are of a clock, so nothing else should run meanwhile."""

import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import crop, releases
from benchmarks.rows import Row, SkippedError, apart
from stages import detect
from stages.runtime import workers

WORKERS = 2
CLIPS, CLIP_COPIES = crop.CLIPS, 160  # so many that the start of the processes does not count
IMAGES, IMAGE_COPIES = 200, 15


def compare(_: Namespace) -> Iterator[Row]:
    """A row for each of the stages."""
    if not hasattr(os, "sched_setaffinity") or workers.available() < WORKERS:
        raise SkippedError(f"{WORKERS} cores are needed, and a system that can hold a process on one")
    with tempfile.TemporaryDirectory() as name:
        tracks = releases.tracks(Path(name) / "tracks", CLIPS, CLIP_COPIES)
        images = releases.images(Path(name) / "images", IMAGES, IMAGE_COPIES)
        for what, work, raw in (
            (f"crop of {CLIPS * CLIP_COPIES} clips at 1 frame/s", crop_tracks, tracks),
            (f"detect with dlib_hog in about {IMAGES * IMAGE_COPIES} images", detect_faces, images),
        ):
            one, two = (apart(seconds, work, raw, count).value for count in (1, WORKERS))
            yield Row("workers", f"{what}, {WORKERS} workers", "s", "one worker", two, one)


def seconds(work: Callable[[Path], None], raw: Path, count: int) -> float:
    """Of a clock, with so many cores."""
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:count])
    start = time.perf_counter()
    work(raw)
    return time.perf_counter() - start


def crop_tracks(raw: Path) -> None:
    """Of profile `paper`."""
    crop.run(raw, 1.0)


def detect_faces(raw: Path) -> None:
    """What the stage makes is thrown away."""
    with releases.places() as places:
        detect.run("affectnet", raw=raw, **places, detect=releases.DETECT)
