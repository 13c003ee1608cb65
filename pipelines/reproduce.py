"""Bring the stages of dvc.yaml up to date as a Prefect flow: the second front door beside `dvc repro`.

The graph is DVC's own and DVC alone decides what has to run, so both doors leave the same dvc.lock. Prefect adds
independent stages in parallel, one log per stage, states and tables in its UI. Full logs lie in .logs/<run>/.
"""

import argparse
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines import graph, summary
from pipelines.processes import Processes, StoppedError
from pipelines.stage_log import StageLog
from stages.errors import UserError

THREADS = 256  # tasks that wait for their upstreams hold a thread; `parallel` limits what really runs
OUTCOMES = {"Completed": "ran", "Cached": "cached", "Failed": "failed"}  # any other state: held back


@task(cache_policy=NO_CACHE, task_run_name="{stage}")
def bring_up_to_date(
    stage: str, *, is_stale: bool, upstream: Sequence[graph.Outcome], root: Path, processes: Processes, log: Path
) -> State[graph.Outcome]:
    """Run one stage through DVC; one that is not stale and whose upstreams did not run needs no DVC to say so."""
    if not is_stale and "ran" not in upstream:
        return Completed(name="Cached", message="up to date", data="unchanged")
    try:
        with StageLog(log, get_run_logger().info) as lines:
            outcome = graph.bring_up_to_date(root, stage, processes, lines.add)
    except (graph.StageError, StoppedError) as error:
        return Failed(message=f"{stage}: {error}; its whole output is in {log}")
    if outcome == "unchanged":
        return Completed(name="Cached", message="DVC found nothing to run", data=outcome)
    return Completed(message="ran", data=outcome)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=THREADS))
def reproduce(targets: Sequence[str] = (), parallel: int = 2, root: Path = Path()) -> State[str]:
    """Bring `targets` and all they need up to date, or every stage; at most `parallel` stages run at a time.

    A stage that fails holds back only the stages that depend on it; the flow fails at the end.
    """
    processes = Processes(parallel)
    try:
        stages = graph.ordered(root, targets)
        runs = submitted(stages, graph.changed(root), root, processes)
        states = {name: run.wait() or run.state for name, run in runs.items()}
    except UserError as error:
        return Failed(message=str(error))
    finally:
        processes.stop()
    publish(root, stages)
    return verdict(states)


def submitted(
    stages: Sequence[graph.Stage], stale: set[str], root: Path, processes: Processes
) -> dict[str, PrefectFuture[graph.Outcome]]:
    """One task per stage, each waiting for its upstreams."""
    logs = root / ".logs" / f"{flow_run.get_scheduled_start_time():%Y%m%d-%H%M%S}-{flow_run.get_name()}"
    runs: dict[str, PrefectFuture[graph.Outcome]] = {}
    for stage in stages:
        runs[stage.name] = bring_up_to_date.with_options(name=stage.name).submit(
            stage.name,
            is_stale=stage.name in stale,
            upstream=[runs[name] for name in stage.upstream],
            root=root,
            processes=processes,
            log=logs / f"{stage.name}.log",
        )
    return runs


def publish(root: Path, stages: Sequence[graph.Stage]) -> None:
    """The metric summary and the counts of rejected items as tables of the run."""
    tables = {
        "metrics": (summary.metric_rows(graph.metrics(root)), "Metrics of the report, as DVC tracks them"),
        "rejects": (summary.reject_rows(out for stage in stages for out in stage.outs), "Items that stages left out"),
    }
    for key, (rows, description) in tables.items():
        if rows:
            create_table_artifact(rows, key=key, description=description)


def verdict(states: Mapping[str, State[graph.Outcome]]) -> State[str]:
    """The flow's final state: one sentence that counts outcomes and tells what failed."""
    outcomes = {name: OUTCOMES.get(state.name or "", "held back") for name, state in states.items()}
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(outcomes.values()).items()))
    failures = [str(states[name].message) for name, outcome in outcomes.items() if outcome == "failed"]
    sentence = f"{len(outcomes)} stages: {counts}"
    if failures:
        return Failed(message="\n".join([sentence, *failures]))
    return Completed(message=sentence, data=sentence)


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
    chosen = parser.parse_args(arguments)
    if chosen.parallel < 1:
        parser.error("--parallel should be at least 1")
    try:
        state = reproduce(chosen.targets, chosen.parallel, return_state=True)
    except KeyboardInterrupt:
        print("stopped; finished stages are kept, the same command goes on from there", file=sys.stderr)
        return 130
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an ordinary exit, which stops the temporary server
    sys.exit(main(sys.argv[1:]))
