"""The health of a training in Prefect's UI while it runs, read from the lines that the stage prints."""

import logging
import re

from prefect.artifacts import create_table_artifact

from pipelines.flows.stage_progress import artifact_key

log = logging.getLogger(__name__)

# Lines as stages/training/watch.py writes them.
LINE = re.compile(r"health of (?P<training>.+) after (?P<steps>\d+) steps: (?P<values>.+)")
WARNING = "warning: "


class StageHealth:
    """A table with a row for each checkpoint, which grows as a stage trains; a stage that trains nothing has none."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._rows: list[dict[str, float]] = []
        self._warning = ""

    def add(self, line: str) -> None:
        """Read one line of the stage's output; lines that do not tell its health are ignored."""
        if line.startswith(WARNING):
            self._warning = line.removeprefix(WARNING)
        elif row := values(line):
            self._rows.append(row)
        else:
            return
        if self._rows:
            self._try_to_show()

    def _try_to_show(self) -> None:
        """A server that refuses the table does not end the stage: the next checkpoint tries again."""
        description = self._warning or "Health of the training: docs/reading-reports.md says what the columns mean"
        key = artifact_key("health", self._stage)
        try:
            create_table_artifact(self._rows, key=key, description=description)
        except Exception as error:  # whatever a server or its client answers
            log.warning("%s could not be shown: %s", key, error)


def values(line: str) -> dict[str, float] | None:
    """`health of pretrain fabnet-0 after 20 steps: effective rank 11.2, knn track 0.9` -> steps and values by name."""
    match = LINE.fullmatch(line)
    if not match:
        return None
    pairs = (each.rsplit(" ", 1) for each in match["values"].split(", "))
    return {"steps": int(match["steps"]), **{name: float(value) for name, value in pairs}}
