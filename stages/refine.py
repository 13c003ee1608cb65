"""Train one pretext method further than another one ends: FAb-Net with several source frames.

Reads: as `pretrain`, and the model folder of the method to start from with the same seed.
Writes: as `pretrain`.
Params: tracks, pretrain, refine, method.<method>.
"""

from pathlib import Path
from typing import Any

from stages.runtime import command
from stages.runtime.params import PretrainParams, RefineParams
from stages.training import loop

SECTIONS = {
    "datasets": "tracks",
    "params": "pretrain",
    "refine": "refine",
    "method_params": "method.{method}",
}


def run(
    *,
    method: str,
    seed: int,
    start: Path,
    tracks: Path,
    splits: Path,
    out: Path,
    datasets: list[str],
    params: PretrainParams,
    refine: RefineParams,
    method_params: dict[str, Any],
    journal: Path = Path(".journal"),
) -> None:
    """Train `method` on from the model folder `start` and write its own model folder `out`."""
    loop.make(
        stage="refine",
        method=method,
        seed=seed,
        tracks=tracks,
        splits=splits,
        out=out,
        datasets=datasets,
        params=params.model_copy(update={"epochs": refine.epochs}),
        method_params=method_params,
        journal=journal,
        start=start,
    )


if __name__ == "__main__":
    command.main(run, SECTIONS, __doc__)
