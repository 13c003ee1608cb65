"""Fitting the probe of action units at the size of EmotioNet on the device, and how near it comes to the CPU's.

    PYTHONPATH=. python benchmarks/gpu_probe.py --out results

Embeddings are random numbers of float32, and units follow from them by a linear map and noise; the first units are
rare, as in the data.
"""

import argparse
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks import parts
from benchmarks.roofline import synchronise
from benchmarks.rows import Row
from fabnet.probe_head import Probe, Samples, Settings
from fabnet.probes import action_units

SETTINGS = Settings(l2=(1e-4, 1e-3, 1e-2, 1e-1, 1.0), max_iter=100, neighbours=5)
UNITS, DIMS = 11, 256
MOST_S, MOST_APART = 120.0, 1e-6
CPU = torch.device("cpu")


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """Rows where there is a GPU."""
    yield from measure(parsed([]), parts.gpu())


def measure(wanted: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """The time of all images, then both devices on some of them."""
    sizes = f"{wanted.dims}, {UNITS} units, {len(SETTINGS.l2)} strengths"
    some = made(wanted.images // 16, wanted.dims)
    fit(*some, device)  # loads the libraries
    _, seconds = fit(*made(wanted.images, wanted.dims), device)
    yield Row("gpu_probe", f"{wanted.images:,} x {sizes}", "s", "two minutes", seconds, MOST_S)
    there, ours = fit(*some, device)
    here, comparison = fit(*some, CPU)
    yield Row("gpu_probe", f"{wanted.images // 16:,} x {sizes}", "s", "the CPU", ours, comparison)
    x = some[1].x
    difference = (there.predict(x.to(device)).cpu() - here.predict(x)).abs().max().item()
    yield Row(
        "gpu_probe", "largest difference of a score from the CPU's", "", "1e-6", max(difference, 2**-53), MOST_APART
    )


def made(images: int, dims: int = DIMS) -> tuple[Samples, Samples]:
    """Training and validation; the rarest unit is there in 5 % of the images."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).double()  # float32 is drawn in half the time

    directions = normal(dims, UNITS) / dims**0.5
    least = torch.linspace(1.8, 0, UNITS, dtype=torch.float64)
    inputs = [normal(count, dims) for count in (images, images // 8)]
    train, val = (Samples(x, (x @ directions + normal(len(x), UNITS) / 2 > least).double()) for x in inputs)
    return train, val


def fit(train: Samples, val: Samples, device: torch.device) -> tuple[Probe, float]:
    """The probe, fitted on the device, and the seconds that it took from embeddings in the computer's memory."""
    start = time.perf_counter()
    there, of_val = (Samples(samples.x.to(device), samples.y.to(device)) for samples in (train, val))
    probe = action_units.fit(there, of_val, SETTINGS)
    synchronise(device)
    return probe, time.perf_counter() - start


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parts.parser(__doc__)
    parser.add_argument("--images", type=int, default=743_033, help="of the training split (default: 743033)")
    parser.add_argument("--dims", type=int, default=DIMS, help="of the embeddings (default: 256)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    parts.run(parsed(), measure)
