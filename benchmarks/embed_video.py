"""`fabnet embed` on 720p videos against decoding and searching every frame: frame rates, memory and recall, in one run.

    PYTHONPATH=. python benchmarks/embed_video.py data/packages/fabnet-0

One synthetic head, and then two, talk and move for `--minutes` (a few rendered seconds, there and back; kept in the
temporary folder). Every frame is searched in the first `--every-minutes` alone: a rate needs no more, and recall counts
the faces of these frames. The two ways take turns, so that other work on the machine disturbs both; processor time a
frame, of all processes, is disturbed little. Each way is timed in a process of its own once its network is loaded.
Memory is that of this process and its workers, shared pages counted once (PSS); the sum of what each of them could be
charged with alone (RSS) counts libraries several times. Recall is the share of the faces of every frame that `embed`
has too, with an overlap of at least half of their union.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq

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
# A process that is started so has no main module that its workers would import as well.
CHILD = "import sys; from benchmarks import embed_video; embed_video.child(*sys.argv[1:])"

Boxes = Mapping[int, Sequence[Box]]  # by frame


def main() -> None:
    """Time both ways and print a line for each, then whether the bounds are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model file, or its folder")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every-minutes", type=float, default=1.0, help="of these, with every frame searched")
    parser.add_argument("--turns", type=int, default=2, help="of each")
    parser.add_argument("--heads", type=int, nargs="+", choices=PLACES, default=list(PLACES))
    wanted = parser.parse_args()
    for heads in wanted.heads:
        every, ours = timed(wanted.model, heads, (wanted.every_minutes, wanted.minutes), wanted.turns)
        for name, way in (("every frame", every), ("embed", ours)):
            print(
                f"{heads} heads: {name:<12} {way.frames_per_s:>6.1f} frames/s {way.work_ms:>6.1f} ms/frame of "
                f"processor time {way.most_gb:>5.2f} GB ({way.most_rss_gb:.2f} with shared pages counted in each)\n"
                f"  in tenths of the time: {' '.join(f'{gb:.2f}' for gb in way.tenths_gb)} GB",
                flush=True,
            )
        ratio, found = ours.frames_per_s / every.frames_per_s, recall(ours.boxes, every.boxes)
        is_kept = ratio >= LEAST_RATIO and ours.most_gb <= MOST_GB and found >= LEAST_RECALL
        print(f"{heads} heads: {ratio:.2f} times the frame rate (at least {LEAST_RATIO}), "
              f"{every.work_ms / ours.work_ms:.2f} by processor time, {100 * found:.2f} % of the "
              f"faces (at least {100 * LEAST_RECALL:g}), {ours.most_gb:.2f} GB (at most {MOST_GB}): "
              f"{'kept' if is_kept else 'MISSED'}", flush=True)  # fmt: skip


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """Two rows for some seconds of one head, and of two: processor time on one core, and recall."""
    if not PACKAGE.is_dir():
        raise SkippedError(f"{PACKAGE} is missing: run `dvc repro package`")
    for heads in PLACES:
        with one_core():
            every, ours = timed(PACKAGE, heads, (SHORT, SHORT), turns=1)
        what, other = f"fabnet embed on 720p, heads: {heads}", "decoding and searching every frame"
        figures = (ours.work_ms, every.work_ms, ours.most_gb, every.most_gb)
        yield Row("embed_video", what, "ms of a processor a frame", other, *figures)
        yield Row("embed_video", f"{what}, faces of every frame", "%", "", 100 * recall(ours.boxes, every.boxes))


@contextmanager
def one_core() -> Generator[None, None, None]:
    """One core, where nothing waits and processor time is all that counts."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
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
    most_rss_gb: float = 0.0
    tenths_gb: list[float] = field(default_factory=list)  # the most in each tenth of the time
    boxes: Boxes | None = None


def timed(model: Path, heads: int, minutes: tuple[float, float], turns: int) -> tuple[Way, Way]:
    """Decoding and searching every frame of some minutes, and `embed` of all."""
    path, most = video(heads, minutes[1])
    frames = (min(most, round(60 * FPS * minutes[0])), most)
    seconds, worked, done = [0.0, 0.0], [0.0, 0.0], (Way(), Way())
    for turn in range(turns):
        for number in (1, 0) if turn % 2 else (0, 1):
            way = done[number]
            took_s, work_s, way.boxes, memory = run(("every", "embed")[number], path, model, frames[number])
            seconds[number] += took_s
            worked[number] += work_s
            if memory.most_gb > way.most_gb:
                way.most_gb, way.most_rss_gb, way.tenths_gb = memory.most_gb, memory.most_rss_gb, memory.tenths_gb()
    for way, count, took_s, work_s in zip(done, frames, seconds, worked, strict=True):
        way.frames_per_s, way.work_ms = count * turns / took_s, 1000 * work_s / (count * turns)
    return done


def run(way: str, path: Path, model: Path, frames: int) -> tuple[float, float, Boxes, "Memory"]:
    """Seconds, seconds of processors, boxes and memory of one way, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        arguments = (way, str(path), str(model), str(frames), str(out))
        with subprocess.Popen([sys.executable, "-c", CHILD, *arguments]) as process, Memory(process.pid) as memory:
            process.wait()
        if process.returncode:
            raise SystemExit(process.returncode)
        found = json.loads(out.read_text())
    return found["seconds"], found["worked"], dict(found["boxes"]), memory


def child(way: str, path: str, model: str, frames: str, out: str) -> None:
    """One way in this process; what it took goes to `out`."""
    chosen = Options(model=Path(model), device="cpu")
    ready = options.ready(chosen)
    start, start_worked = time.perf_counter(), sum(os.times()[:4])
    if way == "every":
        boxes = every_frame(Path(path), replace(ready.search, detect_every=1), int(frames))
    else:
        boxes = embedded(Path(path), Path(out).with_suffix(".parquet"), chosen)
    took_s, work_s = time.perf_counter() - start, sum(os.times()[:4]) - start_worked
    Path(out).write_text(json.dumps({"seconds": took_s, "worked": work_s, "boxes": list(boxes.items())}))


def every_frame(path: Path, search: detection.Search, count: int) -> Boxes:
    """The first frames, each searched."""
    frames = islice(detection.input_frames([path]), count)
    with closing(stretches.detect_all(frames, search)) as detected:
        return {of.frame.number: [face.box for face in of.faces] for of in detected}


def embedded(path: Path, out: Path, chosen: Options) -> Boxes:
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
    """What a process and its children hold together, GB, until it ends."""

    def __init__(self, pid: int) -> None:
        self.most_gb = self.most_rss_gb = 0.0
        self._pid, self._held_gb = pid, list[float]()
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)

    def __enter__(self) -> "Memory":
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def tenths_gb(self) -> list[float]:
        """The most in each tenth of the time."""
        return [float(tenth.max()) for tenth in np.array_split(self._held_gb, 10) if tenth.size]

    def _look(self) -> None:
        while not self._done.wait(1.0):  # a look takes some 10 ms of a core
            held = np.sum([held_gb(pid) for pid in tree(self._pid)], axis=0)
            self._held_gb.append(float(held[0]))
            self.most_gb, self.most_rss_gb = max(self.most_gb, float(held[0])), max(self.most_rss_gb, float(held[1]))


def tree(pid: int) -> list[int]:
    """A process and its children."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for file in tasks for child in _text(file).split())]


def held_gb(pid: int) -> tuple[float, float]:
    """Resident pages, each shared one in proportion (PSS) and in full (RSS); 0 for a process that has ended."""
    kilobytes = {name: int(line.split()[1]) for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
                 if (name := line.partition(":")[0]) in ("Pss", "Rss")}  # fmt: skip
    return kilobytes.get("Pss", 0) / 2**20, kilobytes.get("Rss", 0) / 2**20


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


if __name__ == "__main__":
    main()
