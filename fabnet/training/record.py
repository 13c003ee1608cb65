"""Losses of many steps, which stay on the device until they are read, all at once."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fabnet.modules import ranks


class Record:
    """Losses by name, of as many steps as were added."""

    def __init__(self, values: Mapping[str, list[float]] | None = None) -> None:
        """`values`: those of earlier steps."""
        self._values = {name: list(of_steps) for name, of_steps in (values or {}).items()}
        self._names: list[str] = []
        self._unread: list[Tensor] = []  # (names,) for each step

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Take the losses () of a step, by the same names in every step; nothing waits for the device."""
        self._names = list(losses)
        self._unread.append(torch.stack([loss.detach().float() for loss in losses.values()]))  # a CUDA graph reuses its

    @property
    def unread(self) -> int:
        """Number of steps whose losses were not read."""
        return len(self._unread)

    def read(self) -> dict[str, list[float]]:
        """The losses of all steps by name; those that were not read before are averaged over the processes."""
        if self._unread:
            unread = ranks.averaged(torch.stack(self._unread))
            for name, of_steps in zip(self._names, unread.T.tolist(), strict=True):
                self._values.setdefault(name, []).extend(of_steps)
            self._unread.clear()
        return self._values

    def means(self) -> dict[str, float]:
        """Means over all steps.

        Raises:
            ValueError: there was no step.
        """
        values = self.read()
        if not values:
            raise ValueError("no batch: there are fewer samples than `batch`")
        return {name: math.fsum(of_steps) / len(of_steps) for name, of_steps in values.items()}
