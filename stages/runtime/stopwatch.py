"""Time and memory of each stage, kept on this machine in a small file: `.timings/embed@fabnet-0.json`.

A time is not a result: DVC does not know the folder, no table depends on it, and a stage does not fail if its time
cannot be kept.
"""

import contextlib
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from stages.runtime.files import replace_text

FOLDER = Path(".timings")  # beside .journal and .logs: untracked, local to this checkout
STAGE = "DVC_STAGE"  # the environment variable in which DVC gives a command the name of its stage
CPU = "cpu"


@dataclass(frozen=True)
class Timing:
    """One run of one stage, measured from when its parameters are read."""

    wall_s: float
    cpu_s: float  # of the stage and of the processes that it waited for
    peak_mb: float  # of the largest of these processes
    device: str  # `cpu`, or the name of the GPU that was used
    ended: str  # UTC, ISO 8601


class Stopwatch:
    """Measures from its construction on."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.monotonic(), _cpu_s()

    def read(self) -> Timing:
        return Timing(
            wall_s=round(time.monotonic() - self._wall_s, 3),
            cpu_s=round(_cpu_s() - self._cpu_s, 3),
            peak_mb=round(_peak_mb(), 1),
            device=_device(),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def keep(timing: Timing, stage: str, folder: Path = FOLDER) -> None:
    """Write the file of `stage`; if that is not possible, nothing happens."""
    with contextlib.suppress(OSError):
        replace_text(folder / f"{stage}.json", json.dumps(asdict(timing), indent=1) + "\n")


def kept(folder: Path = FOLDER) -> dict[str, Timing]:
    """The timing of each stage; an unreadable file counts as absent."""
    timings: dict[str, Timing] = {}
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            timings[path.stem] = Timing(**json.loads(path.read_text(encoding="utf-8")))
    return timings


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_mb() -> float:
    unit = 1e-6 if sys.platform == "darwin" else 1.024e-3  # bytes on macOS, KiB elsewhere
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return max(children, _own_peak_kib() * 1.024e-3 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _own_peak_kib() -> int:
    """0 if the system does not report it. `ru_maxrss` would include DVC, which started the stage."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _device() -> str:
    """The GPU that this process has used, without importing torch to ask."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda.get_device_name() if cuda and cuda.is_initialized() else CPU
