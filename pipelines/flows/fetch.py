"""Bring releases into data/raw and do nothing else, as a Prefect flow."""

from collections.abc import Sequence

from prefect import flow
from prefect.client.schemas.objects import State

from pipelines.flows.forms import DataSet, Parallel
from pipelines.flows.stage_tasks import RUNNER, run_stages


@flow(task_runner=RUNNER)
def fetch(*, data_sets: Sequence[DataSet] = (), force: bool = False, parallel: Parallel = 2) -> State[str]:
    """Download or link releases and verify them; nothing is trained.

    Args:
        data_sets: some of those in params.yaml; none: all of them.
        force: read releases again, because their files have changed.
        parallel: releases at a time.
    """
    return run_stages([f"fetch@{name}" for name in data_sets] or ["fetch"], parallel=parallel, force=force)
