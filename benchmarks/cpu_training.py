"""A training step of `fabnet` on a CPU against the original's way of making one.

The original encodes each frame in a call of its own, keeps images channel by channel, and runs the confidence decoder
although a single source needs none. Both ways are stepped with one thread, by turns; seconds are of processor time.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks import original
from benchmarks.rows import Row, apart
from fabnet.modules.model import FAbNet
from fabnet.pretext import fabnet

BATCH, TURNS, WIDTH, EMBEDDING = 8, 3, 32, 256
ORIGINAL = "the original's way"

Losses = Callable[[Tensor], Tensor]


def compare(wanted: Namespace) -> Iterator[Row]:
    """A row for every size of the input."""
    for size_px in wanted.sizes:
        former, ours = (apart(step_s, make, size_px) for make in (original_way, our_way))
        what = f"training step of fabnet on a CPU, {size_px} px, batch {BATCH}"
        yield Row("cpu_training", what, "s of a processor", ORIGINAL, ours[0], former[0], ours[1], former[1])


def step_s(make: Callable[[int], tuple[nn.Module, Losses]], size_px: int) -> float:
    """The best of some steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frames = torch.rand(BATCH, 2, 3, size_px, size_px)
    network, loss = make(size_px)
    optimiser = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    seconds: list[float] = []
    for _ in range(1 + TURNS):
        start = time.process_time()
        optimiser.zero_grad(set_to_none=True)
        loss(frames).backward()
        optimiser.step()
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def our_way(size_px: int) -> tuple[nn.Module, Losses]:
    """As `stages.pretrain` steps it."""
    method = fabnet.build(fabnet.Params(WIDTH, EMBEDDING), size_px=size_px).to(memory_format=torch.channels_last)
    return method, lambda frames: method.losses(frames)["loss"]


def original_way(size_px: int) -> tuple[nn.Module, Losses]:
    """Frame by frame, with confidences whose softmax over one source is 1."""
    net = FAbNet(size_px=size_px, width=WIDTH, embedding=EMBEDDING, with_confidence=True)
    return net, lambda frames: original.loss(net, frames)
