"""Several processes that train one network, each on its share of every batch; most often there is only one.

Whoever starts them makes them a group of `torch.distributed`, see `stages/training/processes.py`. A process's number
is its rank in that group. All of them call the functions below in the same order.
"""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")


def count() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Of this process, from 0."""
    return dist.get_rank() if count() > 1 else 0


def gathered(part: Tensor) -> Tensor:
    """This process's part (B, ...) of a batch -> the parts of all, (B * count, ...), in their order.

    The gradient with respect to the whole flows back to every process's part. A loss that looks across the samples of
    a batch needs no more than this call: then each process has the loss of the whole batch. With one process `part`
    itself comes back.
    """
    return _Gathered.apply(part) if count() > 1 else part  # pyright: ignore[reportReturnType]


def averaged(value: Tensor) -> Tensor:
    """Mean over the processes of a tensor that each of them has."""
    return gathered(value[None]).mean(0) if count() > 1 else value


def of_first(value: Value) -> Value:
    """The value that the first process has, in all of them."""
    if count() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(count())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)  # what each process's loss asks of this part
        return whole.chunk(count())[number()]


class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm (B, C) whose statistics in training are those of the whole batch; in 2D: `ViewNorm2d`."""

    def forward(self, input: Tensor) -> Tensor:
        return normalise(self, input) if self.training and count() > 1 else super().forward(input)


def normalise(layer: nn.BatchNorm1d | nn.BatchNorm2d, part: Tensor) -> Tensor:
    """The part (B, C, ...) of this process as `layer` normalises it in training when it sees the whole batch.

    Running statistics move alike in all processes. `nn.SyncBatchNorm` does this on GPUs alone.
    """
    over = (0, *range(2, part.ndim))
    variance, mean = torch.var_mean(part.float() if part.itemsize < 4 else part, over, correction=0)  # (C)
    means, variances = gathered(torch.stack([mean, variance])[None]).unbind(1)  # (count, C)
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    samples = count() * part.numel() // part.shape[1]
    _move(layer, mean.detach(), variance.detach() * (samples / (samples - 1)))
    scale = layer.weight * (variance + layer.eps).rsqrt()
    shift = layer.bias - mean * scale
    shape = (-1, *[1] * (part.ndim - 2))
    return torch.addcmul(shift.view(shape), part, scale.view(shape)).to(part.dtype)


def _move(layer: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Running statistics towards those of a batch."""
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked += 1
    for running, value in ((layer.running_mean, mean), (layer.running_var, variance)):
        if running is not None:
            running.lerp_(value, layer.momentum or 0.0)
