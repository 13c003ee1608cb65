"""`crop` on one core, archives and shards included, against decoding the same clips with PyAV and nothing else."""

import io
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import av

from benchmarks import releases
from benchmarks.rows import Row, SkippedError, apart
from stages import crop

RATES = (1.0, 5.0)  # frames a second that are kept: profiles paper and sample
CLIPS, COPIES = 8, 40  # enough tracks that the contact sheets do not count


def compare(_: Namespace) -> Iterator[Row]:
    """A row for every rate of frames."""
    if not hasattr(os, "sched_setaffinity"):
        raise SkippedError("this system cannot hold a process on one core")
    with tempfile.TemporaryDirectory() as name:
        raw = releases.tracks(Path(name), CLIPS, COPIES)
        decoding = apart(decode, raw)
        for fps in RATES:
            ours = apart(prepare, raw, fps)
            what = f"crop of {CLIPS * COPIES} clips of {releases.SECONDS:g} s at {fps:g} frames/s"
            yield Row(
                "crop",
                what,
                "s of a processor",
                "decoding with PyAV alone",
                ours.value,
                decoding.value,
                ours.peak_gb,
                decoding.peak_gb,
            )


def decode(raw: Path) -> float:
    """Seconds to decode every frame."""
    clips = releases.clips_of(raw)
    start = time.process_time()
    for clip in clips:
        with av.open(io.BytesIO(clip)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for _ in container.decode(stream):
                pass
    return time.process_time() - start


def prepare(raw: Path, fps: float) -> float:
    """Seconds of the stage, in one process."""
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    start = time.process_time()
    run(raw, fps)
    return time.process_time() - start


def run(raw: Path, fps: float) -> None:
    """The stage; what it makes is thrown away."""
    with releases.places() as places:
        crop.run("voxceleb2", raw=raw, **places, crop=releases.cropping(fps), geometry=releases.GEOMETRY)
