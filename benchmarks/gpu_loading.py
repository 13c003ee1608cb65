"""Steps a second fed by the loader, against batches that lie on the device and against the original's way of working.

    PYTHONPATH=. python benchmarks/gpu_loading.py --out results

The loader decodes what `crop` keeps of the pictures, the original (benchmarks/original.py) the owner's pictures. Each
is warmed up, then timed for some seconds.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat

import torch
from torch import Tensor

from benchmarks import gpu_steps, original, parts, pictures
from benchmarks.gpu_steps import Way
from benchmarks.rows import Row, cores


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """Rows where there is a GPU."""
    yield from measure(parsed([]), parts.gpu())


def measure(wanted: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Two rows for each batch size."""
    owners = pictures.jpegs()
    kept = [original.stored(picture) for picture in owners]
    way, size_px = Way(wanted.precision), wanted.size
    for batch in wanted.batches:
        stream = pictures.decoded(kept, batch, size_px, device)
        resident = gpu_steps.rate(repeat(next(stream)), way, size_px, device, wanted.seconds)
        fed = gpu_steps.rate(stream, way, size_px, device, wanted.seconds)
        what = f"{size_px} px, batch {batch}, {way}"
        yield Row("gpu_loading", f"{what}, fed from JPEG", "steps/s", "the same batch on the device", fed, resident)
        former = original_rate(owners, size_px, batch, device, wanted.seconds)
        yield Row("gpu_loading", f"{what}, from JPEG to weights", "steps/s", "the original's way", fed, former)


def original_rate(owners: list[bytes], size_px: int, batch: int, device: torch.device, seconds: float) -> float:
    """Steps a second of the original's way, with a worker process for each core."""
    training = original.Training(size_px=size_px, width=gpu_steps.PAPER.width, device=device)
    pairs = original.Pairs(owners, pictures.FRAMES, size_px)
    return timed(training.step, original.batches(pairs, batch, device, cores()), seconds)


def timed(step: Callable[[Tensor], object], batches: Iterable[Tensor], seconds: float) -> float:
    """Steps a second, after some that are not counted; each step waits for its loss."""
    stream = iter(batches)
    for frames in islice(stream, gpu_steps.WARM_UP):
        step(frames)
    start = time.perf_counter()
    count = sum(1 for frames in gpu_steps.until(stream, start + seconds) if step(frames) is None)
    return count / (time.perf_counter() - start)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parts.parser(__doc__)
    parser.add_argument("--size", type=int, default=256, metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 8], metavar="N")
    parser.add_argument("--precision", default="bfloat16", choices=gpu_steps.PRECISIONS)
    parser.add_argument("--seconds", type=float, default=4.0, help="that each way is timed for (default: 4)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    parts.run(parsed(), measure)
