"""A progress bar in Prefect's UI for a long stage, read from the lines that the stage prints."""

import logging
import re
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

log = logging.getLogger(__name__)

INTERVAL_S = 3.0
# A line as stages/runtime/progress.py writes it.
LINE = re.compile(r"(?P<text>[^:]+: (?P<done>\d+)/(?P<total>\d+) \w+ \(.+)")


class StageProgress:
    """A progress artifact that appears with the first unfinished loop of a stage: short stages have none."""

    def __init__(self, stage: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = artifact_key("progress", stage)
        self._clock = clock
        self._artifact: UUID | None = None
        self._updated = 0.0

    def add(self, line: str) -> None:
        """Read one line of the stage's output; lines without progress are ignored."""
        progress = share(line)
        if progress is None or (self._artifact is None and progress[0] >= 100):
            return
        if self._artifact is None or self._clock() - self._updated >= INTERVAL_S:
            self._try_to_show(*progress)

    def end(self) -> None:
        """Show that the stage is done."""
        if self._artifact is not None:
            self._try_to_show(100.0, "done")

    def _try_to_show(self, percent: float, text: str) -> None:
        """A failure to update the bar does not end the stage: the next line tries again."""
        try:
            self._show(percent, text)
        except Exception as error:  # whatever a server or its client answers
            self._updated = self._clock()
            log.warning("%s could not be shown: %s", self._key, error)

    def _show(self, percent: float, text: str) -> None:
        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, key=self._key, description=text)
        else:
            update_progress_artifact(self._artifact, percent, description=text)
        self._updated = self._clock()


def share(line: str) -> tuple[float, str] | None:
    """Percent done and the line without its prefix, such as `crop: 20/80 tracks (25 %), 4.0 tracks/s, 0:15 left`."""
    match = LINE.fullmatch(line)
    if not match or not int(match["total"]):
        return None
    return min(100.0, 100.0 * int(match["done"]) / int(match["total"])), match["text"]


def artifact_key(kind: str, stage: str) -> str:
    """A key of lower case letters, digits and dashes, the same in every run, so that it has a history."""
    return f"{kind}-{re.sub('[^a-z0-9]+', '-', stage.lower()).strip('-')}"
