"""A row for every comparison, how its two figures are measured, and the machine that they stand for."""

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
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
            return f"{self.benchmark:<11} {self.what}{', ' if self.what else ''}skipped: {self.skipped}"
        if self.ratio is None:
            return f"{self.benchmark:<11} {self.what}: {self.ours:,.4g} {self.unit}"
        line = f"{self.benchmark:<11} {self.what}: {self.ratio:.2f}x {self.compared_with}; "
        line += f"{self.ours:,.4g} against {self.comparison:,.4g} {self.unit}"
        return line + (f", {self.peak_gb:.2f} against {self.comparison_peak_gb:.2f} GB" if self.peak_gb else "")


def append(row: Row, path: Path, about: dict[str, Any]) -> None:
    """Print the row and add it to a file of JSON lines, with what `about` says of the machine."""
    print(row, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**asdict(row), "ratio": row.ratio, **about}) + "\n")


def about(packed: str = "") -> dict[str, Any]:
    """Columns that say what was measured on; without git the commit is that from which the inputs were `packed`."""
    torch = sys.modules.get("torch")
    gpu = f"{torch.cuda.get_device_name()}, " if torch and torch.cuda.is_initialized() else ""
    version = torch.__version__ if torch else metadata.version("torch")
    commit = current_commit() or packed or "unknown"
    return {"machine": gpu + processor(), "cores": cores(), "torch": version, "commit": commit}


def file_name(machine: str, cores: int) -> str:
    """The machine and its number of cores, in letters that every file system takes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{machine} {cores} cores".lower()).strip("-")


def processor() -> str:
    """As the system calls it."""
    about = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", about.read_text(encoding="utf-8")) if about.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def current_commit() -> str:
    """The commit of the code that was measured, with a plus sign if files were changed; empty without git."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    if not shutil.which("git"):
        return ""
    done = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


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
