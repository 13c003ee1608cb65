"""One GPU for each training: two on the same GPU are slower than one after the other, or do not fit into its memory."""

import importlib
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


class Gpus:
    """Gives each GPU to one training at a time. Safe to use from several threads.

    Without a GPU, up to `on_cpu` trainings run at a time, without a device.
    """

    def __init__(self, on_cpu: int) -> None:
        self._on_cpu = on_cpu
        self._lock = threading.Lock()  # guards the next line
        self._free: queue.SimpleQueue[str] | None = None

    @contextmanager
    def one(self) -> Iterator[Mapping[str, str]]:
        """Environment that names one free GPU for a command; waits until one is free."""
        free = self._queue()
        device = free.get()
        try:
            yield {"CUDA_VISIBLE_DEVICES": device} if device else {}
        finally:
            free.put(device)

    def _queue(self) -> queue.SimpleQueue[str]:
        """The free devices; they are searched when the first training starts."""
        with self._lock:
            if self._free is None:
                self._free = queue.SimpleQueue()
                for device in visible() or [""] * self._on_cpu:
                    self._free.put(device)
            return self._free


def visible() -> Sequence[str]:
    """Names of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    torch = importlib.import_module("torch")  # takes seconds, and a run that is up to date trains nothing
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return [listed[k] if k < len(listed) else str(k) for k in range(torch.cuda.device_count())]
