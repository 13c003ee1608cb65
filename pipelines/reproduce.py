"""Bring the stages of dvc.yaml up to date as a Prefect flow; `dvc repro` does the same without Prefect.

The graph is DVC's own and DVC alone decides what has to run, so both leave the same dvc.lock. Prefect adds
independent stages in parallel, one log per stage, states and tables in its UI. Full logs are in .logs/<time>-<run>/.
When everything is up to date, the command line says so without starting Prefect.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State

from pipelines import profile as profiles
from pipelines.dvc import graph
from pipelines.flows.choices import Choice
from pipelines.flows.forms import UNCHANGED, DataSet, Method, Parallel, Profile, Seed
from pipelines.flows.stage_tasks import RUNNER, run_stages
from stages.runtime import command

STOPPED = "stopped; finished stages are kept, the same command continues from there"


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


def main(arguments: Sequence[str]) -> int:
    """Command line of the flow; exit status 1 if a stage failed, 130 if stopped by the user."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.reproduce",
        description=__doc__,
        epilog="example: python -m pipelines.reproduce crop detect@affectnet --parallel 4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="STAGE",
                        help="a stage (crop@voxceleb1) or all its instances (crop); default: every stage")  # fmt: skip
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="stages at a time (default: 2)")
    parser.add_argument("--force", action="store_true", help="run these stages even if they are up to date")
    options = parser.parse_args(arguments)
    if not 1 <= options.parallel <= 64:
        parser.error("--parallel should be from 1 to 64")
    return command.guarded(lambda: _bring_up_to_date(options), STOPPED)


def _bring_up_to_date(options: argparse.Namespace) -> int:
    if Path("params.yaml").exists():
        profiles.refresh()
    stages = graph.ordered(Path(), options.targets)
    if not options.force and graph.changed(Path()).isdisjoint(stage.name for stage in stages):
        print(f"{len(stages)} stages: all are up to date")
        return 0
    state = reproduce(targets=options.targets, parallel=options.parallel, force=options.force, return_state=True)
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an ordinary exit, which stops the temporary server
    sys.exit(main(sys.argv[1:]))
