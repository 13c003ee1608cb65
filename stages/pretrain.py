"""Train one pretext method on the face tracks.

Reads: shards and TRACK_FRAMES tables of every track data set, their SPLITS tables.
Writes: a model file, checkpoints of the encoder, a HISTORY table and a rejects table.
Params: tracks, pretrain, method.<method>.

After every epoch the whole state goes to a journal, so a run that was stopped goes on and ends with the same
weights as one that was not: bit for bit on a CPU, up to the order in which a GPU adds up gradients elsewhere.
"""

from pathlib import Path
from typing import Any

from stages.runtime import command
from stages.runtime.params import PretrainParams
from stages.training import loop

SECTIONS = {"datasets": "tracks", "params": "pretrain", "method_params": "method.{method}"}


def run(
    *,
    method: str,
    seed: int,
    tracks: Path,
    splits: Path,
    out: Path,
    datasets: list[str],
    params: PretrainParams,
    method_params: dict[str, Any],
    journal: Path = Path(".journal"),
) -> None:
    """Train `method` from `seed` and write its model folder `out`."""
    loop.make(
        stage="pretrain",
        method=method,
        seed=seed,
        tracks=tracks,
        splits=splits,
        out=out,
        datasets=datasets,
        params=params,
        method_params=method_params,
        journal=journal,
    )


if __name__ == "__main__":
    command.main(run, SECTIONS, __doc__)
