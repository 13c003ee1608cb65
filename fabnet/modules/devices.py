"""Where networks run, and how exactly."""

from collections.abc import Generator
from contextlib import contextmanager

import torch


def device(name: str) -> torch.device:
    """The device of that name; `auto` is the accelerator if there is one, else the CPU.

    Raises:
        ValueError: one sentence: it is not available here.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        torch.zeros(0, device=name)
    except (AssertionError, RuntimeError):
        raise ValueError(f"device {name!r} is not available here: take auto or cpu") from None
    return torch.device(name)


def exact(name: str) -> torch.device:
    """`device` for arithmetic in float64, which MPS does not have: there, `auto` is the CPU.

    Raises:
        ValueError: one sentence: it is not available here.
    """
    found = device(name)
    return torch.device("cpu") if name == "auto" and found.type == "mps" else found


@contextmanager
def without_tf32() -> Generator[None]:
    """Convolutions in full float32 also on CUDA, where PyTorch takes TF32.

    For embeddings: those of an untrained encoder differ from image to image by less than TF32 can tell.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
