"""Bring the stages of dvc.yaml up to date, with other parameters if some are chosen, as a Prefect flow."""

from collections.abc import Sequence

from prefect import flow
from prefect.client.schemas.objects import State

from pipelines.flows.choices import Choice
from pipelines.flows.forms import UNCHANGED, DataSet, Method, Parallel, Profile, Seed
from pipelines.flows.stage_tasks import RUNNER, run_stages


@flow(task_runner=RUNNER)
def reproduce(
    *,
    profile: Profile = UNCHANGED,
    targets: Sequence[str] = (),
    methods: Sequence[Method] = (),
    data_sets: Sequence[DataSet] = (),
    seeds: Sequence[Seed] = (),
    force: bool = False,
    parallel: Parallel = 2,
) -> State[str]:
    """Bring stages up to date. What you choose here is first written to params.yaml; then DVC decides what runs.

    Args:
        profile: complete set of parameters to start from.
        targets: stages with what they need, such as crop or crop@voxceleb1; none: all stages.
        methods: what to compare, in this order; none: as in params.yaml.
        data_sets: what to train and evaluate on; none: as in params.yaml.
        seeds: every method is trained once for each; none: as in params.yaml.
        force: run the targets even if they are up to date.
        parallel: stages at a time; trainings get a GPU each.
    """
    choice = Choice("" if profile == UNCHANGED else profile, methods, data_sets, seeds)
    return run_stages(targets, parallel=parallel, force=force, choice=choice)
