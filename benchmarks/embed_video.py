"""`fabnet embed` on 720p videos against decoding and searching every frame: frame rates, memory and recall, in one run.

    PYTHONPATH=. python benchmarks/embed_video.py data/packages/fabnet-0

One synthetic head, and then two, talk and move for `--minutes` (a few rendered seconds, there and back; kept in the
temporary folder). The two ways take turns, so that other work on the machine disturbs both; processor time a frame, of
all processes, is disturbed little. Memory is that of the process and its workers, shared pages counted once. Recall is
the share of the faces of every frame that `embed` has too, with an overlap of at least half of their union.
"""

import argparse
import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.rows import Row, SkippedError
from fabnet.boxes import Box, overlap
from pipelines.own import detection, options, stretches
from pipelines.own.embed import embed
from pipelines.own.options import Options
from stages.synthetic.renderer import clip, identity, render
from stages.synthetic.renderer.background import draw_background
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.seeds import generator

WIDTH_PX, HEIGHT_PX, FPS, RENDERED, PX_PER_UNIT = 1280, 720, 25, 150, 100.0
LEAST_RATIO, MOST_GB, LEAST_RECALL, LEAST_OVERLAP = 3.0, 1.0, 0.99, 0.5
PACKAGE, SHORT = Path("data/packages/fabnet-0"), 0.1  # minutes of a comparison beside others
PLACES = {1: [(640, 200)], 2: [(380, 80), (900, -90)]}  # number of heads -> x of each, and how far it sways, px

Boxes = Mapping[int, Sequence[Box]]  # by frame


def main() -> None:
    """Time both ways and print a line for each, then whether the bounds are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model file, or its folder")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=2, help="of each")
    wanted = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for heads in PLACES:
        every, ours = timed(wanted.model, heads, wanted.minutes, wanted.turns)
        for name, way in (("every frame", every), ("embed", ours)):
            print(f"{heads} heads: {name:<12} {way.frames_per_s:>6.1f} frames/s {way.work_ms:>6.1f} ms/frame of "
                  f"processor time {way.most_gb:>5.2f} GB")  # fmt: skip
        ratio, found = ours.frames_per_s / every.frames_per_s, recall(ours.boxes, every.boxes)
        is_kept = ratio >= LEAST_RATIO and ours.most_gb <= MOST_GB and found >= LEAST_RECALL
        print(f"{heads} heads: {ratio:.2f} times the frame rate (at least {LEAST_RATIO}), {100 * found:.2f} % of the "
              f"faces (at least {100 * LEAST_RECALL:g}), {ours.most_gb:.2f} GB (at most {MOST_GB}): "
              f"{'kept' if is_kept else 'MISSED'}")  # fmt: skip


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """Two rows for some seconds of one head, and of two: processor time on one core, and recall."""
    if not PACKAGE.is_dir():
        raise SkippedError(f"{PACKAGE} is missing: run `dvc repro package`")
    for heads in PLACES:
        with one_core():
            every, ours = timed(PACKAGE, heads, SHORT, turns=1)
        what, other = f"fabnet embed on 720p, heads: {heads}", "decoding and searching every frame"
        figures = (ours.work_ms, every.work_ms, ours.most_gb, every.most_gb)
        yield Row("embed_video", what, "ms of a processor a frame", other, *figures)
        yield Row("embed_video", f"{what}, faces of every frame", "%", "", 100 * recall(ours.boxes, every.boxes))


@contextmanager
def one_core() -> Generator[None, None, None]:
    """One thread on one core, where nothing waits and processor time is all that counts."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@dataclass
class Way:
    """What one of the two took and found."""

    frames_per_s: float = 0.0
    work_ms: float = 0.0  # processor time a frame, of all processes
    most_gb: float = 0.0
    boxes: Boxes | None = None


def timed(model: Path, heads: int, minutes: float, turns: int) -> tuple[Way, Way]:
    """Decoding and searching every frame, and `embed`."""
    chosen = Options(model=model, device="cpu")
    path, frames = video(heads, minutes)
    search = replace(options.ready(chosen).search, detect_every=1)
    ways = (lambda: every_frame(path, search), lambda: embedded(path, chosen))
    seconds, worked, done = [0.0, 0.0], [0.0, 0.0], (Way(), Way())
    for turn in range(turns):
        for number in (1, 0) if turn % 2 else (0, 1):
            with Memory() as memory:
                start, start_worked = time.perf_counter(), sum(os.times()[:4])
                done[number].boxes = ways[number]()
                seconds[number] += time.perf_counter() - start
                worked[number] += sum(os.times()[:4]) - start_worked
            done[number].most_gb = max(done[number].most_gb, memory.most_gb)
    for way, took_s, work_s in zip(done, seconds, worked, strict=True):
        way.frames_per_s, way.work_ms = frames * turns / took_s, 1000 * work_s / (frames * turns)
    return done


def every_frame(path: Path, search: detection.Search) -> Boxes:
    with closing(stretches.detect_all(detection.input_frames([path]), search)) as detected:
        return {of.frame.number: [face.box for face in of.faces] for of in detected}


def embedded(path: Path, chosen: Options) -> Boxes:
    out = path.with_suffix(".parquet")
    embed(path, out=out, options=chosen)
    boxes: dict[int, list[Box]] = {}
    for frame, *box in zip(
        *pq.read_table(out, columns=["frame", "x0", "y0", "x1", "y1"]).to_pydict().values(), strict=True
    ):
        boxes.setdefault(frame, []).append(tuple(box))
    return boxes


def recall(ours: Boxes | None, every: Boxes | None) -> float:
    """Share of the faces of `every` that `ours` has too."""
    if ours is None or every is None:
        return math.nan
    hits = [
        any(overlap(box, other) >= LEAST_OVERLAP for other in ours.get(frame, ()))
        for frame, boxes in every.items()
        for box in boxes
    ]
    return float(np.mean(hits))


def video(heads: int, minutes: float) -> tuple[Path, int]:
    """Talking heads in 720p, and the number of frames."""
    frames = round(60 * FPS * minutes)
    path = Path(tempfile.gettempdir()) / f"fabnet-{heads}-heads-{WIDTH_PX}x{HEIGHT_PX}-{frames}.mp4"
    if not path.exists():
        partial = path.with_suffix(".partial")
        write(partial, list(rendered(heads)), frames)
        partial.replace(path)
    return path, frames


def write(path: Path, images: Sequence[np.ndarray], frames: int) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for number in range(frames):
            place = number % (2 * len(images))  # there and back
            image = images[min(place, 2 * len(images) - 1 - place)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def rendered(heads: int) -> Iterator[np.ndarray]:
    """Heads that talk, turn and sway, each behind the next."""
    background = draw_background(generator("benchmark", heads), HEIGHT_PX, WIDTH_PX)
    people = [moving(generator("benchmark", heads, number), *place) for number, place in enumerate(PLACES[heads])]
    for number in range(RENDERED):
        image = background
        for person, rng, states in people:
            state = states[number]
            image = render.frame(person, image, state.au, state.pose, state.camera, rng=rng, gaze=state.gaze).image
        yield np.ascontiguousarray(image)


def moving(
    rng: np.random.Generator, x: float, sway_px: float
) -> tuple[identity.Identity, np.random.Generator, list[clip.FrameState]]:
    """A person, with the states of all frames."""
    person, camera = identity.draw(rng), Camera(WIDTH_PX, HEIGHT_PX, (x, 380.0), PX_PER_UNIT)
    states = clip.draw_states(rng, emotion="happy", frames=RENDERED, camera=camera)
    shifts = sway_px * np.sin(np.linspace(0, 3 * np.pi, RENDERED))
    return person, rng, [shifted(state, shift) for state, shift in zip(states, shifts.tolist(), strict=True)]


def shifted(state: clip.FrameState, shift_px: float) -> clip.FrameState:
    x, y = state.camera.centre_xy_px
    return replace(state, camera=replace(state.camera, centre_xy_px=(x + shift_px, y)))


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
