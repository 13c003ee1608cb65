"""Training steps a second by input size, batch, precision and compiling, against the roofline of the device.

    PYTHONPATH=. python benchmarks/gpu_steps.py --out results

Batches of random pictures lie on the device, so the losses mean nothing. The ratio is the share of the rate that the
device could reach at most: what a step has to compute and to move is counted, how fast the device does either is
measured first (benchmarks/roofline.py). Ways that compile come last, the slowest to compile at the end.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product, repeat

import torch
from torch import Tensor

from benchmarks import parts, pictures, roofline
from benchmarks.roofline import Ceilings, Work
from benchmarks.rows import Row
from fabnet.pretext import fabnet
from fabnet.training.train import Settings, Trainer

PRECISIONS = ("float32", "float16", "bfloat16")
MODES = {"none": "", "default": ", compiled", "reduce-overhead": ", compiled with CUDA graphs"}
PAPER = fabnet.Params(width=32, embedding=256)
WARM_UP = 5  # steps that are not timed


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    precision: str = "float32"
    mode: str = "none"  # of torch.compile
    fused: bool = True  # optimiser

    def __str__(self) -> str:
        return self.precision + MODES[self.mode] + ("" if self.fused else ", optimiser not fused")


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """Rows where there is a GPU."""
    yield from measure(parsed([]), parts.gpu())


def measure(wanted: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """The ceilings, then a row for each size, batch and way."""
    least = {} if device.type == "cuda" else {"side": 128, "copy_bytes": 2**20}
    found = roofline.ceilings(device, **least)
    yield Row("gpu_steps", "copy, bytes read and written", "GB/s", "", found.copy_bytes_per_s / 1e9)
    for name, rate in found.operations_per_s.items():
        yield Row("gpu_steps", f"product of matrices in {name}", "TFLOP/s", "", rate / 1e12)
    clips = pictures.jpegs()
    ways = [Way(wanted.precisions[0], fused=False), *map(Way, wanted.precisions)]
    for size_px, batch, way in [*product(wanted.sizes, wanted.batches, ways), *compiled(wanted)]:
        frames = next(pictures.batches(clips, pictures.decoders(clips, device)[0], batch, size_px, device))
        yield row(frames, way, found, wanted.seconds)


def compiled(wanted: argparse.Namespace) -> Iterator[tuple[int, int, Way]]:
    """Each takes up to a minute before its first step: the largest input and the last precision only."""
    for mode, batch in product(wanted.modes, wanted.batches):
        yield max(wanted.sizes), batch, Way(wanted.precisions[-1], mode)


def row(frames: Tensor, way: Way, ceilings: Ceilings, seconds: float) -> Row:
    """Steps a second on the same frames again and again, beside the most that the device could make."""
    batch, size_px = len(frames), frames.shape[-1]
    work = counted(frames, way)
    most = 1 / ceilings.least_s(work, way.precision)
    peaks = torch.cuda if frames.device.type == "cuda" else None
    if peaks:
        peaks.reset_peak_memory_stats()
    what = f"{size_px} px, batch {batch}, {way}"
    try:
        found = rate(repeat(frames), way, size_px, frames.device, seconds)
    except RuntimeError as error:  # compilers, memory
        return Row("gpu_steps", what, "steps/s", "", skipped=reason(error))
    needs = f"{work.operations / 1e12:.3g} TFLOP, {work.least_bytes / 1e9:.3g} GB of {work.eager_bytes / 1e9:.3g}"
    peak_gb = peaks.max_memory_allocated() / 2**30 if peaks else None
    return Row("gpu_steps", what, "steps/s", f"the roofline: {needs}", found, most, peak_gb)


def reason(error: Exception) -> str:
    """The first line of what went wrong."""
    return str(error).strip().split("\n", 1)[0]


def trainer(way: Way, size_px: int, device: torch.device, epochs: int) -> Trainer:
    """The network of the paper, with Adam."""
    torch.manual_seed(0)
    if way.mode != "none":
        torch.compiler.reset()  # otherwise a second shape is compiled for any shape
    method = fabnet.build(PAPER, size_px=size_px)
    settings = Settings(
        "adam", 1e-4, 0.9, 0.0, epochs, plateau_factor=0.1, plateau_patience=epochs, precision=way.precision,
        fused=way.fused, compile=way.mode,
    )  # fmt: skip
    return Trainer(method, settings, device=device)


def counted(frames: Tensor, way: Way) -> Work:
    """The work of one step; compiling changes none of it."""
    method = fabnet.build(PAPER, size_px=frames.shape[-1]).to(frames.device)
    dtype = roofline.DTYPES[way.precision]

    def step() -> None:
        with torch.autocast(frames.device.type, dtype, enabled=dtype != torch.float32):
            loss = method.losses(frames)["loss"]
        loss.backward()

    return roofline.counted(step, method)


def rate(frames: Iterable[Tensor], way: Way, size_px: int, device: torch.device, seconds: float) -> float:
    """Steps a second, after an epoch of some steps that warms up.

    An epoch's losses are read at its end, before it is validated: all its steps are done then.
    """
    stream = iter(frames)
    one = trainer(way, size_px, device, epochs=2)
    validation = list(islice(stream, 1))
    times = [0.0, 0.0]

    def batches(epoch: int, _: int) -> Iterator[Tensor]:
        times[0] = time.perf_counter()
        if epoch == 1:
            return islice(stream, WARM_UP)
        return until(stream, times[0] + seconds)

    def trained() -> list[Tensor]:
        times[1] = time.perf_counter()
        return validation

    for _ in one.epochs(batches, trained, lambda: None):
        pass
    return (one.steps - WARM_UP) / (times[1] - times[0])


def until(frames: Iterator[Tensor], end: float) -> Iterator[Tensor]:
    """At least one, and no more after a time."""
    for each in frames:
        yield each
        if time.perf_counter() > end:
            return


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parts.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256], metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 8, 128], metavar="N")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--modes", nargs="*", default=["reduce-overhead", "default"], choices=list(MODES))
    parser.add_argument("--seconds", type=float, default=0.5, help="that each way is timed for (default: 0.5)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    parts.run(parsed(), measure)
