"""Steps a second fed by the loader, against batches that lie on the device and against the original's way of working.

    PYTHONPATH=. python benchmarks/gpu_loading.py --out results

The loader decodes what `crop` keeps of the pictures, the original (benchmarks/original.py) the owner's pictures. Each
is warmed up, then timed for some seconds.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice, repeat

import torch

from benchmarks import gpu_steps, original, parts, pictures
from benchmarks.gpu_steps import Way
from benchmarks.rows import Row, cores


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """Rows where there is a GPU."""
    yield from measure(parsed([]), parts.gpu())


def measure(wanted: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Two rows for each batch size and way of decoding."""
    owners = pictures.jpegs()
    kept = [original.stored(picture) for picture in owners]
    way, size_px = Way(wanted.precision), wanted.size
    for batch in wanted.batches:
        what = f"{size_px} px, batch {batch}, {way}"
        former = original_rate(owners, size_px, batch, device, wanted.seconds)
        resident = None
        for decoder in pictures.decoders(kept, device):
            of = f"{what}, JPEG decoded by {decoder.name}"
            try:
                stream = pictures.batches(kept, decoder, batch, size_px, device)
                resident = resident or gpu_steps.rate(repeat(next(stream)), way, size_px, device, wanted.seconds)
                fed = gpu_steps.rate(stream, way, size_px, device, wanted.seconds)
            except RuntimeError as error:
                yield Row("gpu_loading", of, "steps/s", "", skipped=gpu_steps.reason(error))
                continue
            yield Row("gpu_loading", of, "steps/s", "the same batch on the device", fed, resident)
            yield Row("gpu_loading", of, "steps/s", "the original's way", fed, former)


def original_rate(owners: list[bytes], size_px: int, batch: int, device: torch.device, seconds: float) -> float:
    """Steps a second of the original's way, with a worker process for each core."""
    training = original.Training(size_px=size_px, width=gpu_steps.PAPER.width, device=device)
    pairs = original.Pairs(owners, pictures.FRAMES, size_px)
    stream = original.batches(pairs, batch, device, cores())
    for frames in islice(stream, 3 * cores()):  # more than the workers made while the first step was prepared
        training.step(frames)
    start, before = time.perf_counter(), len(training.losses)
    for frames in gpu_steps.until(stream, start + seconds):
        training.step(frames)  # waits for its loss
    return (len(training.losses) - before) / (time.perf_counter() - start)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parts.parser(__doc__)
    parser.add_argument("--size", type=int, default=256, metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 8], metavar="N")
    parser.add_argument("--precision", default="bfloat16", choices=gpu_steps.PRECISIONS)
    parser.add_argument("--seconds", type=float, default=2.5, help="that each way is timed for (default: 2.5)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    parts.run(parsed(), measure)
