"""The stages of DVC's graph as tasks of a Prefect flow run, for every flow that runs stages.

DVC alone decides what has to run, so a flow and `dvc repro` leave the same dvc.lock. Each stage is one task that waits
for its upstreams. Groups are tags and names, not flows of their own: flows inside the flow would wait for each other,
and `crop` of one data set could not overlap with `fetch` of another. Full logs are in .logs/<time>-<run>/.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines.dvc import graph
from pipelines.flows import artifacts, choices, groups
from pipelines.flows.calm import calm
from pipelines.flows.cancelling import interrupted_if_cancelled
from pipelines.flows.choices import NOTHING, Choice
from pipelines.flows.stage_health import WARNING, StageHealth
from pipelines.flows.stage_log import StageLog
from pipelines.flows.stage_progress import StageProgress
from pipelines.running.gpus import Gpus
from pipelines.running.lock import exclusive
from pipelines.running.processes import Processes, StoppedError
from stages.runtime.errors import UserError

PROFILES = Path(__file__).parents[2] / "profiles"
# Tasks that wait for their upstreams hold a thread; `parallel` limits how many stages run.
RUNNER = ThreadPoolTaskRunner(max_workers=256)
OUTCOMES = {"Completed": "ran", "Cached": "cached", "Failed": "failed", "Lost": "failed"}  # any other state: held back


def run_stages(targets: Sequence[str], *, parallel: int, force: bool = False, choice: Choice = NOTHING) -> State[str]:
    """Bring `targets` and all their upstreams up to date in the current folder; no targets: every stage.

    `choice` is written to params.yaml first. With `force`, the targets run even if they are up to date. If a
    stage fails, only the stages that depend on it are held back; the state returned is Failed, with one sentence.
    """
    root, logger = Path(), get_run_logger()
    get_logger("prefect.task_runs").addFilter(calm)
    try:
        with interrupted_if_cancelled(), exclusive(root, logger.info):
            graph.check_targets(root, targets)
            change = choices.write(choice, root / "params.yaml", PROFILES)
            if change.difference:
                logger.info("params.yaml was changed:\n%s", change.difference)
                artifacts.show_change(change.difference, change.kept)
            if change.kept:
                logger.info("params.yaml had been edited; as it was, it is kept in %s", change.kept)
            stages = graph.ordered(root, targets)
            forced = graph.named(stages, targets) if force else set[str]()
            states = final_states(stages, graph.changed(root), forced, root, parallel)
            show_results(root, [stage for stage in stages if states[stage.name].is_completed()])
    except UserError as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message="stopped; finished stages are kept, the next run continues from there")
    return verdict(states)


def show_results(root: Path, stages: Sequence[graph.Stage]) -> None:
    """Publish the results of stages as artifacts; a server that refuses them does not fail the run."""
    try:
        artifacts.publish(root, stages)
    except UserError:
        raise
    except Exception as error:  # whatever a server or its client answers
        get_run_logger().warning("the results could not be shown here, they are in data/: %s", error)


@dataclass(frozen=True)
class Shared:
    """What all stages of one run use."""

    root: Path
    processes: Processes
    gpus: Gpus
    logs: Path


def final_states(
    stages: Sequence[graph.Stage], stale: set[str], forced: set[str], root: Path, parallel: int
) -> dict[str, State[graph.Outcome]]:
    """The final state of each stage's task; no stage is running when this returns or raises."""
    logs = root / ".logs" / f"{flow_run.get_scheduled_start_time():%Y%m%d-%H%M%S}-{flow_run.get_name()}"
    shared = Shared(root, Processes(parallel), Gpus(on_cpu=parallel), logs)
    runs: dict[str, PrefectFuture[graph.Outcome]] = {}
    try:
        for stage in stages:
            shown = groups.shown_name(stage.name)
            named = bring_up_to_date.with_options(name=shown, task_run_name=shown, tags=groups.tags(stage.name))
            runs[stage.name] = named.submit(
                stage.name,
                is_stale=stage.name in stale | forced,
                is_forced=stage.name in forced,
                upstream=[runs[name] for name in stage.upstream],
                shared=shared,
            )
        return {name: run.wait() or run.state for name, run in runs.items()}
    finally:
        shared.processes.stop()


# A stage retries its own items; a second run helps only if its process or DVC's lock was lost.
@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=3,
    retry_condition_fn=lambda _task, _run, state: state.name == "Lost",
)
def bring_up_to_date(
    stage: str, *, is_stale: bool, is_forced: bool, upstream: Sequence[graph.Outcome], shared: Shared
) -> State[graph.Outcome]:
    """Run one stage through DVC, unless DVC found it up to date before and its upstreams are unchanged."""
    if not is_stale and set(upstream) <= {"unchanged"}:
        return Completed(name="Cached", message=f"{stage}: up to date", data="unchanged")
    log = shared.logs / f"{stage}.log"
    try:
        outcome = logged(stage, log, shared, is_forced=is_forced)
    except StoppedError:
        return Cancelled(message=f"{stage} was stopped with the run; the next run continues from here")
    except graph.StageError as error:
        name = "Lost" if isinstance(error, graph.LostError) else None
        return Failed(name=name, message=f"{stage}: {error}; its whole output is in {log}")
    if outcome != "ran":
        reason = "DVC found nothing to run" if outcome == "unchanged" else "taken from DVC's cache"
        return Completed(name="Cached", message=f"{stage}: {reason}", data=outcome)
    return Completed(message=f"{stage}: ran", data=outcome)


def logged(stage: str, log: Path, shared: Shared, *, is_forced: bool) -> graph.Outcome:
    """Outcome of a stage whose output goes to its log, to the run's log, its progress bar and its table of health."""
    device = shared.gpus.one() if groups.group_of(stage) == "train" else nullcontext(graph.NO_DEVICE)
    progress, health, logger = StageProgress(stage), StageHealth(stage), get_run_logger()

    def on_text(text: str) -> None:
        logger.info("%s:\n%s", stage, text)  # the log of a run mixes stages without saying which

    with device as environment, StageLog(log, on_text) as lines:

        def on_line(line: str) -> None:
            lines.add(line)
            progress.add(line)
            health.add(line)
            if line.startswith(WARNING):
                logger.warning("%s: %s", stage, line)

        outcome = graph.bring_up_to_date(
            shared.root, stage, shared.processes, on_line, force=is_forced, device=environment
        )
    progress.end()
    return outcome


def verdict(states: Mapping[str, State[graph.Outcome]]) -> State[str]:
    """The flow's final state: one sentence that counts outcomes, and one line for each failure."""
    outcomes = {name: OUTCOMES.get(state.name or "", "held back") for name, state in states.items()}
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(outcomes.values()).items()))
    failures = [str(states[name].message) for name, outcome in outcomes.items() if outcome == "failed"]
    sentence = f"{len(outcomes)} stages: {counts}"
    if failures:
        return Failed(message="\n".join([sentence, *failures]))
    return Completed(message=sentence, data=sentence)
