"""Find everything that the run needs and lacks before its first stage runs: settings, weights, releases, disk space.

Reads: all parameters, releases in their folders, names and sizes in data/raw. Writes: one line that says so; it is the
same for all parameters, so that nothing runs again because they have changed.
Environment: download URLs and credentials (stages/acquisition/hosts.py).
"""

import logging
import os
from pathlib import Path

from stages.readiness import lacks, precision, sizes
from stages.readiness.lacks import Folders
from stages.runtime import command
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text
from stages.runtime.params import Params

log = logging.getLogger(__name__)

READY = "a run finds all that it needs\n"


def run(*, raw: Path, tracks: Path, faces: Path, out: Path, journal: Path = Path(".journal"), params: Params) -> None:
    """Write `out` if nothing is missing; tell a precision that is slow here, and faces that are scaled twice.

    Raises:
        UserError: something is missing; one line for each thing.
    """
    folders = Folders(
        raw={name: raw / name for name in params.datasets},
        cut={name: (tracks if name in params.track_sets else faces) / name for name in params.datasets},
        journal=journal,
    )
    if found := list(lacks.find(params, Path(), folders, os.environ)):
        raise UserError("\n".join(f"{lack.topic}: {lack.sentence}" for lack in found))
    if sentence := precision.slow(params.pretrain):
        log.warning("%s", sentence)
    for sentence in sizes.scaled_twice(params):
        log.info("%s", sentence)
    replace_text(out, READY)


if __name__ == "__main__":
    command.main(run, __doc__)
