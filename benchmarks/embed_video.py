"""`fabnet embed` on a 720p video against decoding and detection alone: frame rates and memory, in one run.

    PYTHONPATH=. python benchmarks/embed_video.py data/packages/fabnet-0

A synthetic head talks for `--minutes` (a few rendered seconds, repeated; kept in the temporary folder).
The two take turns, so that other work on the machine disturbs both; processor time a frame, of all processes, is
disturbed little. Memory is that of the process and its workers, shared pages counted once.
"""

import argparse
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.rows import Row, SkippedError
from pipelines.own import detection, options
from pipelines.own.embed import embed
from pipelines.own.options import Options
from stages.synthetic.renderer import clip, identity
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.seeds import generator

WIDTH_PX, HEIGHT_PX, FPS, RENDERED = 1280, 720, 25, 50
LEAST_RATIO, MOST_GB = 0.8, 1.5
PACKAGE, SHORT = Path("data/packages/fabnet-0"), 0.1  # minutes of a comparison beside others


def main() -> None:
    """Time both and print a line for each, then whether the bounds are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model file, or its folder")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=2, help="of each")
    wanted = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    alone, whole = timed(wanted.model, wanted.minutes, wanted.turns)
    for name, way in (("decode and detect", alone), ("embed", whole)):
        print(f"{name:<18} {way.frames_per_s:>7.1f} frames/s {way.work_ms:>7.1f} ms/frame of processor time "
              f"{way.most_gb:>6.2f} GB")  # fmt: skip
    ratio = whole.frames_per_s / alone.frames_per_s
    verdict = "kept" if ratio >= LEAST_RATIO and whole.most_gb <= MOST_GB else "MISSED"
    print(f"embed reaches {ratio:.2f} of the frame rate (at least {LEAST_RATIO}) in {whole.most_gb:.2f} GB "
          f"(at most {MOST_GB}): {verdict}")  # fmt: skip


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """A row for some seconds of video."""
    if not PACKAGE.is_dir():
        raise SkippedError(f"{PACKAGE} is missing: run `dvc repro package`")
    alone, whole = timed(PACKAGE, minutes=SHORT, turns=2)
    figures = (whole.frames_per_s, alone.frames_per_s, whole.most_gb, alone.most_gb)
    yield Row("embed_video", f"fabnet embed, {SHORT} min of 720p", "frames/s", "decoding and detection alone", *figures)


@dataclass
class Way:
    """What one of the two took."""

    frames_per_s: float
    work_ms: float  # processor time a frame, of all processes
    most_gb: float


def timed(model: Path, minutes: float, turns: int) -> tuple[Way, Way]:
    """Decoding and detection alone, and `embed`."""
    chosen = Options(model=model, device="cpu")
    path, frames = video(minutes)
    search = options.ready(chosen).search
    ways: list[Callable[[], object]] = [
        lambda: consume(detection.detect_all(detection.input_frames([path]), search)),
        lambda: embed(path, out=path.with_suffix(".parquet"), options=chosen),
    ]
    seconds, worked, most = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    for turn in range(turns):
        for way in (1, 0) if turn % 2 else (0, 1):
            with Memory() as memory:
                start, start_worked = time.perf_counter(), sum(os.times()[:4])
                ways[way]()
                seconds[way] += time.perf_counter() - start
                worked[way] += sum(os.times()[:4]) - start_worked
            most[way] = max(most[way], memory.most_gb)
    count = frames * turns
    alone, whole = (Way(count / seconds[way], 1000 * worked[way] / count, most[way]) for way in (0, 1))
    return alone, whole


def video(minutes: float) -> tuple[Path, int]:
    """A talking head in 720p, and its number of frames."""
    frames = round(60 * FPS * minutes)
    path = Path(tempfile.gettempdir()) / f"fabnet-{WIDTH_PX}x{HEIGHT_PX}-{frames}.mp4"
    if not path.exists():
        partial = path.with_suffix(".partial")
        write(partial, frames)
        partial.replace(path)
    return path, frames


def write(path: Path, frames: int) -> None:
    rendered = list(render())
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for number in range(frames):
            place = number % (2 * RENDERED)  # there and back
            image = rendered[min(place, 2 * RENDERED - 1 - place)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def render() -> Iterator[np.ndarray]:
    rng = generator("benchmark", 0)
    person, camera = identity.draw(rng), Camera(WIDTH_PX, HEIGHT_PX, (640.0, 380.0), 150.0)
    for _, frame in clip.render_clip(person, rng, emotion="happy", frames=RENDERED, camera=camera):
        yield np.ascontiguousarray(frame.image)


def consume(seen: Any) -> None:
    with closing(seen):
        for _ in seen:
            pass


class Memory:
    """The most memory that this process and its children held together, GB."""

    def __init__(self) -> None:
        self.most_gb = 0.0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)

    def __enter__(self) -> "Memory":
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._done.wait(0.2):
            self.most_gb = max(self.most_gb, sum(map(held_gb, tree())))


def tree() -> list[int]:
    """This process and its children."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [os.getpid(), *(int(pid) for file in tasks for pid in file.read_text().split())]


def held_gb(pid: int) -> float:
    """Proportional share of resident pages; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 2**20


if __name__ == "__main__":
    main()
