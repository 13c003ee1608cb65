"""A training step of `fabnet` on a CPU against the original's way of making one; seconds are of processor time.

Both are stepped with one thread: with more, threads that wait for a busy core would be counted as work.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.original import Training
from benchmarks.rows import Row, apart
from fabnet.pretext import fabnet

BATCH, STEPS, WIDTH, EMBEDDING = 8, 3, 32, 256
CPU = torch.device("cpu")

Step = Callable[[Tensor], object]


def compare(wanted: Namespace) -> Iterator[Row]:
    """A row for every size of the input."""
    for size_px in wanted.sizes:
        original, ours = (apart(step_s, way, size_px) for way in (original_way, our_way))
        what = f"training step of fabnet on a CPU, {size_px} px, batch {BATCH}"
        figures = ours.value, original.value, ours.peak_gb, original.peak_gb
        yield Row("cpu_training", what, "s of a processor", "the original's way", *figures)


def step_s(way: Callable[[int], Step], size_px: int) -> float:
    """The best of some steps, after one that is not counted."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frames, step = torch.rand(BATCH, 2, 3, size_px, size_px), way(size_px)
    seconds: list[float] = []
    for _ in range(1 + STEPS):
        start = time.process_time()
        step(frames)
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def original_way(size_px: int) -> Step:
    """A call of the encoder for each view, channels first, the confidence decoder run."""
    return Training(size_px=size_px, width=WIDTH, device=CPU).step


def our_way(size_px: int) -> Step:
    """As `stages.pretrain` does it."""
    torch.manual_seed(0)
    method = fabnet.build(fabnet.Params(WIDTH, EMBEDDING), size_px=size_px)
    method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-4)

    def step(frames: Tensor) -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = method.losses(frames)["loss"]
        loss.backward()
        optimiser.step()
        return loss.item()

    return step
