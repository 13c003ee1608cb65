"""Options that make a training step faster, and what they need: precision, and modes of torch.compile."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

Precision = Literal["float32", "float16", "bfloat16"]
Mode = Literal["none", "default", "reduce-overhead", "max-autotune"]  # PyTorch's words; `none` does not compile
Losses = TypeVar("Losses", bound=Callable[..., dict[str, Tensor]])  # a function, or a module
GRAPHS = ("reduce-overhead", "max-autotune")  # modes that record CUDA graphs


def check(precision: Precision, mode: Mode, device: torch.device) -> None:
    """Nothing if `device` can train so; compiling is tried on a small function, which takes some seconds.

    Raises:
        ValueError: one sentence: what is not possible here, and what to set instead.
    """
    if precision == "float16" and device.type != "cuda":
        raise ValueError(f"precision float16 needs a CUDA device, found {device.type}: set it to bfloat16 or float32")
    if mode != "none":
        try:
            torch.compile(torch.square, mode=mode)(torch.ones(8, device=device))
        except Exception as error:  # compilers raise almost anything
            reason = str(error).strip().split("\n", 1)[0]
            raise ValueError(f"compile {mode} does not work here ({reason}): set it to none") from None


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which losses are computed: convolutions and products in `precision`, losses in float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def compiled(losses: Losses, mode: Mode) -> Losses:
    """`losses` as one program, made when it is first called, which takes minutes; `none` gives it back as it is."""
    return losses if mode == "none" else torch.compile(losses, mode=mode)  # pyright: ignore[reportReturnType]
