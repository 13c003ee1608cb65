"""Python modules that run in the background, each in a process group of its own, with a log in .logs/."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.running.processes import GUARD, end_group
from stages.runtime.errors import UserError

LOGS = Path(".logs")


@contextmanager
def service(name: str, module: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A Python module that ends with the block, as does all that it starts; its output goes to .logs/<name>.log."""
    LOGS.mkdir(exist_ok=True)
    command = [*GUARD, sys.executable, "-m", *module]
    with (LOGS / f"{name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, env=env, process_group=0, text=True, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            end_group(process)
            if process.stdin:
                process.stdin.close()


def stopped(name: str) -> UserError:
    """The error about a service that should be running, with its last line."""
    log = LOGS / f"{name}.log"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return UserError(f"the {name} stopped ({lines[-1] if lines else 'no output'}): see {log}")
