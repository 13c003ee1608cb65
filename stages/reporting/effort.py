"""Time and memory of the stages for the page: what lies in `.timings`, next to the stages that the graph has."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.runtime.params import Params
from stages.runtime.stopwatch import CPU, Timing


def stages(params: Params) -> list[str]:
    """All stages of the graph before `report`, as DVC names them, in the graph's order."""
    lists = {
        "fetch": params.datasets,
        "crop": params.track_sets,
        "detect": params.detected_sets,
        "index": params.boxed_sets,
    }
    runs = {"pretrain": params.pretrained, "refine": params.refined, "embed": params.methods, "probe": params.methods}
    return [
        *(f"{stage}@{dataset}" for stage, datasets in lists.items() for dataset in datasets),
        "split",
        *(f"{stage}@{method}-{seed}" for stage, methods in runs.items() for method in methods for seed in params.seeds),
        "package",
        "illustrate",
    ]


def table(names: Sequence[str], timings: Mapping[str, Timing]) -> dict[str, Any]:
    """A row for every kind of stage and every single one, and their sum; only those of `names` count."""
    timed = {name: timings[name] for name in names if name in timings}
    kinds = dict.fromkeys(map(_kind, names))
    return {
        "kinds": [_row(kind, [timing for name, timing in timed.items() if _kind(name) == kind],
                       sum(_kind(name) == kind for name in names)) for kind in kinds],
        "stages": [_row(name, [timing], 1) for name, timing in timed.items()],
        "sum": _row("all", list(timed.values()), len(names)),
        "missing": len(names) - len(timed),
    }  # fmt: skip


def _row(name: str, timings: Sequence[Timing], stages: int) -> dict[str, Any]:
    used_gpu = [timing for timing in timings if timing.device != CPU]
    return {
        "name": name,
        "stages": stages,
        "timed": len(timings),
        "wall": _clock(sum(timing.wall_s for timing in timings)),
        "cpu": _clock(sum(timing.cpu_s for timing in timings)),
        "gpu": _clock(sum(timing.wall_s for timing in used_gpu)) if used_gpu else None,
        "peak_mb": max((timing.peak_mb for timing in timings), default=0.0),
        "devices": sorted({timing.device for timing in timings}),
        "ended": max((timing.ended for timing in timings), default=""),
    }


def _kind(name: str) -> str:
    return name.split("@", maxsplit=1)[0]


def _clock(seconds: float) -> str:
    """Such as 1:02:07, in hours; a second is the least that is shown."""
    whole = max(round(seconds), 1)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
