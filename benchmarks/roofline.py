"""The least time that a training step can take on a device, from counted work and measured ceilings.

A multiplication and an addition are two operations. Bytes are counted twice: `least`, as if all else were fused into
convolutions, matrix products and sampling; and `eager`, as if every operation of PyTorch read its inputs from memory
and wrote its results there. Either way Adam reads weights, gradients and two moments once.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

HEAVY = ("convolution", "mm", "grid_sampler")  # in names of operations whose operands have to move
ADAM_PASSES = 7  # weights, gradients and two moments are read, all but gradients written
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Work:
    """Of one step."""

    operations: float
    least_bytes: float
    eager_bytes: float


@dataclass(frozen=True)
class Ceilings:
    """What a device reaches at most."""

    copy_bytes_per_s: float  # read and written
    operations_per_s: dict[str, float]  # by precision, of a large matrix product

    def least_s(self, work: Work, precision: str) -> float:
        """The longer of calculation and transport; the convolutions of float32 run in TF32."""
        rate = self.operations_per_s["tf32" if precision == "float32" else precision]
        return max(work.operations / rate, work.least_bytes / self.copy_bytes_per_s)


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of all operands and results; views move none."""

    def __init__(self) -> None:
        super().__init__()
        self.heavy = self.all = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            size = sum(leaf.nbytes for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor))
            self.all += size
            self.heavy += size if any(name in func.__name__ for name in HEAVY) else 0
        return result


def counted(step: Callable[[], object], network: nn.Module) -> Work:
    """The work of a training step, of which `step` does all but the optimiser's part."""
    traffic = _Traffic()
    with FlopCounterMode(display=False) as operations, traffic:
        step()
    adam = ADAM_PASSES * sum(weight.nbytes for weight in network.parameters() if weight.requires_grad)
    return Work(operations.get_total_flops(), traffic.heavy + adam, traffic.all + adam)


def ceilings(device: torch.device, *, side: int = 8192, copy_bytes: int = 2**31) -> Ceilings:
    """Measure them: a copy of random numbers, and products of square matrices of random numbers."""
    rates = {name: _product_rate(device, side, name) for name in DTYPES}
    return Ceilings(_copy_rate(device, copy_bytes), rates)


def _copy_rate(device: torch.device, size: int) -> float:
    source = torch.rand(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(lambda: target.copy_(source), device)


def _product_rate(device: torch.device, side: int, precision: str) -> float:
    left, right = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    with _tf32(enabled=precision == "tf32"):
        return 2 * side**3 / _seconds(lambda: left @ right, device)


@contextmanager
def _tf32(*, enabled: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if enabled else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _seconds(run: Callable[[], object], device: torch.device, *, calls: int = 10, turns: int = 3) -> float:
    """The best of some turns, for one call."""
    best = float("inf")
    for turn in range(turns + 1):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(calls if turn else 1):  # the first turn warms up
            run()
        synchronise(device)
        best = min(best, (time.perf_counter() - start) / calls) if turn else best
    return best


def synchronise(device: torch.device) -> None:
    """Wait for what was given to the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
