"""The flow on a tiny DVC repository and a real Prefect server."""

import contextlib
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from ruamel.yaml import YAML
from tiny_repository import ROOT, dvc
from waiting import sleepers, until

from pipelines import reproduce
from pipelines.dvc import graph
from pipelines.flows.reproduce import reproduce as flow

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

ALL = {"fetch@x", "fetch@y", "fragile", "tail", "solid", "report"}


def lock(root: Path) -> dict:
    return YAML(typ="safe").load((root / "dvc.lock").read_text(encoding="utf-8"))


def run(root: Path, **options):
    """The flow's final state, and the state's name of every stage."""
    with contextlib.chdir(root):
        state = flow(return_state=True, **options)
    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=only)
    return state, {task.name.split(" ")[-1].rsplit("-", 1)[0]: task.state_name for task in tasks}


def test_both_front_doors_leave_the_same_lock(tiny, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    state, stages = run(tiny, parallel=3)
    dvc(other, "repro")
    assert state.is_completed()
    assert stages == dict.fromkeys(ALL, "Completed")
    assert lock(tiny) == lock(other)
    assert dvc(tiny, "status").strip() == "Data and pipelines are up to date."


def test_what_dvc_has_run_is_cached_and_starts_no_stage(tiny_up_to_date):
    before = (tiny_up_to_date / "dvc.lock").stat().st_mtime_ns
    state, stages = run(tiny_up_to_date)
    assert state.is_completed()
    assert state.message == "6 stages: 6 cached"
    assert stages == dict.fromkeys(ALL, "Cached")
    assert (tiny_up_to_date / "dvc.lock").stat().st_mtime_ns == before


def test_an_edit_runs_what_depends_on_it_and_nothing_else(tiny_up_to_date):
    (tiny_up_to_date / "fragile.sh").write_text("echo other > fragile.txt")
    _, stages = run(tiny_up_to_date)
    assert {name for name, state in stages.items() if state == "Completed"} == {"fragile", "tail"}


def test_stages_after_a_restored_one_run_again(tiny_up_to_date):
    """There and back: `fragile` comes from DVC's cache, and `tail`, which was up to date before, has to follow."""
    first = (tiny_up_to_date / "fragile.sh").read_text()
    (tiny_up_to_date / "fragile.sh").write_text("echo other > fragile.txt")
    run(tiny_up_to_date)
    assert (tiny_up_to_date / "tail.txt").read_text() == "other\n"
    (tiny_up_to_date / "fragile.sh").write_text(first)
    state, _ = run(tiny_up_to_date)
    assert state.is_completed()
    assert (tiny_up_to_date / "tail.txt").read_text() == "x\n"
    assert graph.changed(tiny_up_to_date) == set()


def test_a_refused_run_leaves_the_parameters_as_they_were(tiny):
    (tiny / "params.yaml").write_text("seeds: [0]\n")
    state, _ = run(tiny, targets=["crop"], seeds=[0, 1])
    assert state.is_failed()
    assert (tiny / "params.yaml").read_text() == "seeds: [0]\n"


def test_a_stage_whose_upstream_ran_to_the_same_end_is_cached_by_dvc(tiny_up_to_date):
    (tiny_up_to_date / "switch").write_text("work as before")
    _, stages = run(tiny_up_to_date)
    assert stages["fragile"] == "Completed"
    assert stages["tail"] == "Cached"


def test_a_failing_stage_holds_back_only_what_depends_on_it(tiny):
    (tiny / "switch").write_text("break")
    state, stages = run(tiny)
    assert state.is_failed()
    assert state.message.startswith(
        "6 stages: 1 failed, 1 held back, 4 ran\nfragile: error: the release should hold 3 parts"
    )
    assert stages == {**dict.fromkeys(ALL, "Completed"), "fragile": "Failed", "tail": "NotReady"}


def test_targets_leave_other_stages_alone(tiny):
    _, stages = run(tiny, targets=["solid"])
    assert set(stages) == {"fetch@y", "solid"}
    assert not (tiny / "raw" / "x").exists()


def test_the_whole_output_of_a_stage_is_in_its_log(tiny):
    run(tiny, targets=["report"])
    (log,) = (tiny / ".logs").glob("*/report.log")
    assert (
        "> cp solid.txt report.html && mkdir -p metrics && cp scores/* metrics && cp drawn.png summary.png"
        in log.read_text().splitlines()
    )


def test_metrics_are_published_as_a_table(tiny_up_to_date):
    run(tiny_up_to_date, targets=["report"])
    assert '"w300.landmarks", "fabnet": 5.5, "random": 9.0' in Artifact.get("metrics").data


def test_an_unknown_target_fails_with_one_line(tiny):
    state, _ = run(tiny, targets=["crop"])
    assert state.is_failed()
    assert state.message == "no stage 'crop': expected one of fetch, fragile, report, solid, tail"


@pytest.mark.parametrize(("switch", "status"), [("work", 0), ("break", 1)])
def test_the_command_line_ends_with_the_flows_sentence(tiny, monkeypatch, capsys, switch, status):
    (tiny / "switch").write_text(switch)
    monkeypatch.chdir(tiny)
    assert reproduce.main(["fragile"]) == status
    printed = capsys.readouterr()
    assert "2 stages: " in (printed.err if status else printed.out)


@pytest.mark.parametrize(("targets", "count"), [([], 6), (["solid"], 2)])
def test_the_command_line_needs_no_server_when_everything_is_up_to_date(
    tiny_up_to_date, monkeypatch, capsys, targets, count
):
    if targets:
        (tiny_up_to_date / "switch").write_text("work on")  # which they do not depend on
    monkeypatch.chdir(tiny_up_to_date)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # where nothing listens
    assert reproduce.main(targets) == 0
    where = "" if targets else "; report: report.html"
    assert capsys.readouterr().out == f"{count} stages: all are up to date{where}\n"


@pytest.mark.parametrize("arguments", [["fragile", "--force"], ["tail"]])
def test_the_command_line_runs_stages_that_are_forced_or_whose_upstreams_have_changed(
    tiny_up_to_date, monkeypatch, capsys, arguments
):
    if "--force" not in arguments:
        (tiny_up_to_date / "fragile.sh").write_text("echo other > fragile.txt")
    monkeypatch.chdir(tiny_up_to_date)
    assert reproduce.main(arguments) == 0
    assert "1 cached" in capsys.readouterr().out


def test_help_shows_targets_and_parallel(capsys):
    with pytest.raises(SystemExit):
        reproduce.main(["--help"])
    assert "crop detect@affectnet --parallel 4" in capsys.readouterr().out


def stop(process: psutil.Popen, signum: int) -> None:
    """Send a signal as a terminal sends Ctrl-C, to the whole process group, or as `kill` does, to one process."""
    os.killpg(process.pid, signum) if signum == signal.SIGINT else process.send_signal(signum)


@pytest.mark.usefixtures("sigint_is_heard")
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_the_flow_ends_stages_and_server_and_the_next_run_goes_on(tiny, signum, status):
    (tiny / "switch").write_text("sleep")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = {**inherited, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines.reproduce", "fragile"]
    with (tiny / "output").open("w") as output:
        process = psutil.Popen(command, cwd=tiny, env=env, stdout=output, stderr=output, process_group=0)
        try:
            assert until(lambda: len(sleepers()) == 2, 600)
            started = process.children(recursive=True)
            stop(process, signum)
            assert process.wait(timeout=300) == status
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    if signum == signal.SIGINT:
        said = (tiny / "output").read_text()
        assert not re.search("WARNING|ERROR|Traceback", said), said
        assert said.endswith(f"\n{reproduce.STOPPED}\n")
    assert len(started) >= 5  # server, dvc, its shell, two sleeping
    assert until(lambda: not any(process.is_running() for process in started), 60), started
    (tiny / "switch").write_text("work")
    assert run(tiny, targets=["fragile"])[0].is_completed()
