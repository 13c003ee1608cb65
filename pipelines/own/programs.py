"""What an export consists of: programs, and how a runtime packs and runs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BATCHES = (2, 5)  # sizes that every exported program is tried with


@dataclass(frozen=True)
class Program:
    """What becomes one file."""

    name: str  # after that of the file
    module: nn.Module
    shape: tuple[int, ...]  # of the input, without the number of images
    input: str
    outputs: list[str]


Pack = Callable[[Program, Mapping[str, str]], bytes]  # with metadata
Running = Callable[[Tensor], Sequence[Tensor]]
Start = Callable[[bytes], Running]


def example(program: Program) -> Tensor:
    """An input to trace the program with."""
    return torch.zeros(BATCHES[0], *program.shape)
