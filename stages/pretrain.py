"""Train one pretext method on the face tracks.

Reads: shards and TRACK_FRAMES tables of every track data set, their SPLITS tables.
Writes: a model file, checkpoints of the encoder, a HISTORY table (losses, and the health of the encoder at every
    checkpoint) and a rejects table.

The whole state is saved in a journal after every epoch and within long ones. A run that was stopped resumes and ends
with the same weights as one that was not: bit for bit on a CPU, elsewhere up to the order in which a GPU adds up
gradients.
"""

from pathlib import Path
from typing import Any

from stages.runtime import command
from stages.runtime.params import PretrainParams
from stages.training import loop
from stages.training.trackset import TrackSource

SECTIONS = {"settings": "method.{method}"}


def run(
    method: str,
    seed: int,
    *,
    tracks: Path,
    splits: Path,
    out: Path,
    journal: Path = Path(".journal"),
    track_sets: list[str],
    pretrain: PretrainParams,
    settings: dict[str, Any],
) -> None:
    """Train `method` from `seed` and write its model folder `out`."""
    source = TrackSource(tracks, splits, track_sets, pretrain.jitter_px)
    loop.train(source, method, settings, pretrain, seed=seed, out=out, journal=journal)


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
