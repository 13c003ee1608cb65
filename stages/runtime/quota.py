"""How much CPU the control groups of this process allow: containers and clusters set limits there, not in affinity.

Linux only. Version 2 has `cpu.max` with quota and period in microseconds, version 1 a file for each of them:
https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/scheduler/sched-bwc.html.
"""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cpus(system: Path = Path("/")) -> float:
    """CPUs that this process may use, such as 1.5; infinite without a limit. The least of all levels counts.

    Args:
        system: the root of the file system.
    """
    try:
        groups = (system / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return math.inf
    return min(map(_limit, _folders(groups, system / "sys/fs/cgroup")), default=math.inf)


def _folders(groups: list[str], mounted: Path) -> Iterator[Path]:
    """The folders of the groups that limit CPU, each with all above it; a container sees its own as the topmost."""
    for group in groups:
        controllers, _, path = group.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        inside = PurePosixPath(path.lstrip("/"))
        for tree in {mounted} if not controllers else {mounted / "cpu", mounted / controllers}:
            yield from (tree / level for level in (inside, *inside.parents) if ".." not in level.parts)


def _limit(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
        allowed = float(quota) / float(period)  # "max" and -1: no limit
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return allowed if allowed > 0 else math.inf
