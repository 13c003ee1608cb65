"""One GPU for each training: two on the same one are slower than one after the other, or do not fit."""

import importlib
import os
import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property


class Gpus:
    """Hands out GPUs, each to one training at a time. Safe to use from several threads.

    Without a GPU, `otherwise` trainings run at a time and none is given a device.
    """

    def __init__(self, otherwise: int) -> None:
        self._otherwise = otherwise

    @contextmanager
    def one(self) -> Iterator[Mapping[str, str]]:
        """The environment that shows one GPU to a command; waits for a free one."""
        device = self._free.get()
        try:
            yield {"CUDA_VISIBLE_DEVICES": device} if device else {}
        finally:
            self._free.put(device)

    @cached_property
    def _free(self) -> queue.SimpleQueue[str]:
        free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in visible() or [""] * self._otherwise:
            free.put(device)
        return free


def visible() -> Sequence[str]:
    """Names of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    torch = importlib.import_module("torch")  # takes seconds, and a run that is up to date trains nothing
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return [listed[k] if k < len(listed) else str(k) for k in range(torch.cuda.device_count())]
