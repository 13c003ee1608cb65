"""A row for every comparison, and how its two figures are measured."""

import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple


class SkippedError(Exception):
    """A benchmark cannot run here; the message is the reason."""


@dataclass(frozen=True)
class Row:
    """Two ways of doing the same, measured in the same run."""

    benchmark: str
    what: str  # is measured
    unit: str  # a rate ends in /s; otherwise less is better
    compared_with: str
    ours: float | None = None
    comparison: float | None = None
    peak_gb: float | None = None  # most memory of the process, 2**30 bytes
    comparison_peak_gb: float | None = None
    skipped: str = ""  # why there is no figure

    @property
    def ratio(self) -> float | None:
        """How many times as fast ours is."""
        if self.ours is None or self.comparison is None:
            return None
        return self.ours / self.comparison if self.unit.endswith("/s") else self.comparison / self.ours

    def __str__(self) -> str:
        """One line for people."""
        if self.skipped:
            return f"{self.benchmark:<11} skipped: {self.skipped}"
        line = f"{self.benchmark:<11} {self.what}: {self.ratio:.2f}x {self.compared_with}; "
        line += f"{self.ours:,.4g} against {self.comparison:,.4g} {self.unit}"
        return line + (f", {self.peak_gb:.2f} against {self.comparison_peak_gb:.2f} GB" if self.peak_gb else "")


class Measured(NamedTuple):
    value: float
    peak_gb: float


def apart(function: Callable[..., float], *arguments: Any) -> Measured:
    """What `function` returns in a process of its own, and the most memory that this process held."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments).result()


def _measured(function: Callable[..., float], arguments: tuple[Any, ...]) -> Measured:
    return Measured(function(*arguments), peak_gb())


def peak_gb() -> float:
    """The most memory that this process has held; Linux's `ru_maxrss` would count what its parent held at its start."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
