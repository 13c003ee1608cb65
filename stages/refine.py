"""Train one pretext method from the weights of another one: FAb-Net with several source frames.

Reads: as `pretrain`, and the model folder of the method to start from, with the same seed.
Writes: as `pretrain`.
"""

from pathlib import Path
from typing import Any

from stages.runtime import command
from stages.runtime.params import PretrainParams, RefineParams
from stages.training import loop
from stages.training.trackset import TrackSource

SECTIONS = {"settings": "method.{method}"}


def run(
    method: str,
    seed: int,
    *,
    start: Path,
    tracks: Path,
    splits: Path,
    out: Path,
    journal: Path = Path(".journal"),
    track_sets: list[str],
    pretrain: PretrainParams,
    refine: RefineParams,
    settings: dict[str, Any],
) -> None:
    """Train `method` from the weights in the model folder `start` and write its own model folder `out`."""
    source = TrackSource(tracks, splits, track_sets, pretrain.jitter_px)
    params = pretrain.model_copy(update={"epochs": refine.epochs})
    loop.train(source, method, settings, params, seed=seed, out=out, journal=journal, start=start)


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
