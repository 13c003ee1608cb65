"""Embed the faces of your own videos and images with a trained network, as a Prefect flow."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from pipelines.flows.stage_log import StageLog
from pipelines.flows.stage_progress import StageProgress
from pipelines.running.processes import Processes


@flow(name="embed videos")
def embed_videos(*, model: str, sources: Sequence[str], output: str) -> State[str]:
    """Embeddings of every face in videos and images, one row each in a table.

    Args:
        model: model file or folder that this project wrote.
        sources: videos, images, or folders of them.
        output: the table to write, *.parquet or *.csv.
    """
    command = [sys.executable, "-m", "pipelines.cli", "embed", "--model", model, "--out", output, "--", *sources]
    log = Path(".logs") / f"embed-{flow_run.get_name()}.log"
    status, last = run_logged(command, log)
    if status:
        return Failed(message=f"{last}; the whole output is in {log}")
    return Completed(message=f"{output} is written")


def run_logged(command: Sequence[str], log: Path) -> tuple[int, str]:
    """Exit status and last line of a command, whose output goes to `log`, the run's log and a progress bar."""
    processes, progress, last = Processes(1), StageProgress("embed"), ""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        with processes.lines(command, Path(), environment) as process, StageLog(log, get_run_logger().info) as lines:
            for line in map(str.rstrip, process.stdout or ()):
                lines.add(line)
                progress.add(line)
                last = line or last
            status = process.wait()
    finally:
        processes.stop()
    progress.end()
    return status, last
