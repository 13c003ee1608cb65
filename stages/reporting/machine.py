"""The page `machine.html`: what differs between machines and changes no result. Times and memory of stages, versions.

It lies beside the report and is not an output of DVC, so that the report has the same bytes wherever it is made.
"""

import importlib.metadata
import logging
import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.reporting import page, revision
from stages.runtime.stopwatch import CPU, Timing

log = logging.getLogger(__name__)

NAME = "machine.html"


def render(timings: Mapping[str, Timing], instances: Collection[str], packages: Sequence[str], root: Path) -> str:
    """The page on this machine.

    Args:
        timings: by stage, as DVC names it.
        instances: names that may follow the `@` of a stage; times of other data sets and runs are left out.
        packages: whose full versions are shown.
        root: of the checkout.
    """
    current = {
        stage: timing
        for stage, timing in sorted(timings.items())
        if stage != "report" and ("@" not in stage or stage.split("@")[1] in instances)
    }
    commit = revision.commit(root)
    if commit.startswith(revision.UNKNOWN):
        log.warning("%s names no commit: it is %s", NAME, commit)
    return page.template("machine.html").render(
        commit=commit,
        code_hash=revision.code_hash(root),
        uncommitted=revision.uncommitted(root),
        system=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}},
        effort=effort(current),
    )


def effort(timings: Mapping[str, Timing]) -> dict[str, Any]:
    """A row for every kind of stage and for every stage that was timed, and their sum."""
    of_kind: dict[str, list[Timing]] = {}
    for stage, timing in timings.items():
        of_kind.setdefault(stage.split("@")[0], []).append(timing)
    return {
        "kinds": [_row(kind, members) for kind, members in of_kind.items()],
        "stages": [_row(stage, [timing]) for stage, timing in timings.items()],
        "sum": _row("all", list(timings.values())),
    }


def _row(name: str, timings: Sequence[Timing]) -> dict[str, Any]:
    on_gpu = [timing for timing in timings if timing.device != CPU]
    return {
        "name": name,
        "stages": len(timings),
        "wall": _clock(sum(timing.wall_s for timing in timings)),
        "cpu": _clock(sum(timing.cpu_s for timing in timings)),
        "gpu": _clock(sum(timing.wall_s for timing in on_gpu)) if on_gpu else None,
        "peak_mb": max((timing.peak_mb for timing in timings), default=0.0),
        "devices": sorted({timing.device for timing in timings}),
        "ended": max((timing.ended for timing in timings), default=""),
    }


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:02:07; at least a second."""
    whole = max(round(seconds), 1)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
