"""Runs started from Prefect's UI on a real server, also cancelled and killed ones."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from running_ui import TIMEOUT_S, Ui, opened
from tiny_repository import ROOT
from waiting import sleepers, until

from pipelines import profile
from stages.runtime import config
from stages.runtime.files import file_digest

pytestmark = pytest.mark.slow


def hang(ui: Ui) -> str:
    """A run whose stage `fragile` sleeps, with a child."""
    (ui.root / "switch").write_text("sleep")
    run = ui.begin("reproduce", targets=["fragile"])
    assert until(lambda: len(sleepers()) == 2, TIMEOUT_S), ui.log("deployments")
    return run


def goes_on(ui: Ui) -> bool:
    """Whether the next run completes."""
    (ui.root / "switch").write_text("work")
    return ui.end(ui.begin("reproduce", targets=["fragile"]))["type"] == "COMPLETED"


def test_no_schedule_is_active_until_someone_turns_it_on(ui):
    schedules = [schedule for served in ui.deployments().values() for schedule in served["schedules"]]
    assert schedules
    assert not any(schedule["active"] for schedule in schedules)


def test_the_form_offers_names_to_choose_from(ui):
    fields = ui.deployments()["reproduce"]["parameter_openapi_schema"]["properties"]
    assert fields["profile"]["enum"] == ["as in params.yaml", *profile.names(ROOT / "profiles")]
    assert "vicreg" in fields["methods"]["items"]["enum"]
    assert "w300" in fields["data_sets"]["items"]["enum"]
    assert all(field["description"] for field in fields.values())


def test_what_is_chosen_is_in_params_yaml_and_shown(ui):
    run = ui.begin("reproduce", targets=["fetch@y"], methods=["fabnet", "pca"], seeds=[0, 1])
    assert ui.end(run)["type"] == "COMPLETED"
    params = (ui.root / "params.yaml").read_text(encoding="utf-8")
    assert "\n- fabnet\n- pca\ndatasets:" in params
    assert "\n+- 1\n" in ui.artifacts(run)["parameters"]["data"]


def test_a_wrong_choice_fails_with_one_line_and_changes_nothing(ui):
    before = (ui.root / "params.yaml").read_bytes()
    state = ui.end(ui.begin("reproduce", methods=["random", "fabnet_sources"]))
    assert (state["type"], state["message"].count("\n")) == ("FAILED", 0)
    assert "refine.start should be one of `methods`" in state["message"]
    assert (ui.root / "params.yaml").read_bytes() == before


def test_an_encoder_without_its_digest_fails_and_the_message_gives_it(ui):
    (ui.root / "own.pt").write_bytes(b"weights")
    state = ui.end(ui.begin("evaluate an encoder", weights="own.pt"))
    assert state["type"] == "FAILED"
    digest = file_digest(ui.root / "own.pt")
    assert f"method.own.weights_sha256 should be the sha256 of own.pt, which is {digest}" in state["message"]


def test_an_encoder_with_its_digest_is_in_params_yaml_and_the_report_is_renewed(ui):
    (ui.root / "own.pt").write_bytes(b"trusted")
    digest = file_digest(ui.root / "own.pt")
    assert ui.end(ui.begin("evaluate an encoder", weights="own.pt", weights_sha256=digest))["type"] == "COMPLETED"
    params = config.load(ui.root / "params.yaml")
    assert (params.methods[-1], params.method["own"]["weights_sha256"]) == ("own", digest)
    assert (ui.root / "report.html").exists()


def test_a_cancelled_run_ends_its_stage_and_the_next_one_goes_on(ui):
    run = hang(ui)
    ui.cancel(run)
    assert ui.end(run)["type"] == "CANCELLED"
    assert until(lambda: sleepers() == [], TIMEOUT_S)
    assert all(line["level"] < logging.WARNING for line in ui.lines(run)), ui.lines(run)
    assert goes_on(ui)


def test_a_killed_worker_leaves_nothing_running_and_the_next_run_goes_on(ui):
    run = hang(ui)
    worker = next(p for p in sleepers()[0].parents() if "prefect.engine" in " ".join(p.cmdline()))
    worker.kill()
    assert until(lambda: sleepers() == [], TIMEOUT_S)
    assert not (ui.root / "fragile.txt").exists()
    assert ui.end(run)["type"] == "CRASHED"
    assert goes_on(ui)


def test_a_stage_whose_process_is_killed_runs_again(ui):
    run = hang(ui)
    (ui.root / "switch").write_text("work")
    sleepers()[0].parent().kill()
    assert ui.end(run)["type"] == "COMPLETED"


def test_stopping_the_ui_ends_server_deployments_and_stages(tiny):
    with opened(tiny) as ui:
        hang(ui)
        started = ui.process.children(recursive=True)
    assert len(started) >= 6
    assert until(lambda: not any(process.is_running() for process in started), TIMEOUT_S), started
    assert ui.process.returncode == 130


@pytest.mark.parametrize("options", [[], ["--port", "4300"]])
def test_starting_the_ui_again_prints_the_address_of_the_one_that_runs(ui, options):
    command = [sys.executable, "-m", "pipelines.ui", *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ui.root, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Prefect UI: {ui.pages} (it is already running)\n"


def test_a_run_of_the_terminal_is_in_the_ui_and_can_be_cancelled_there(ui):
    (ui.root / "switch").write_text("sleep")
    command = [sys.executable, "-m", "pipelines.reproduce", "fragile", "--force"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with psutil.Popen(
        command, cwd=ui.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a background job of a script
    ) as flow:  # fmt: skip
        assert until(lambda: len(sleepers()) == 2, TIMEOUT_S)
        (run,) = ui.post("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}})
        ui.cancel(run["id"])
        said = flow.stdout.read()
    assert flow.returncode == 130
    assert said.startswith(f"Prefect UI: {ui.pages}\n")
    assert f"View at {ui.pages}runs/flow-run/{run['id']}" in said
    assert not re.search("WARNING|ERROR|Traceback", said)
    assert ui.end(run["id"])["type"] == "CANCELLED"
    assert sleepers() == []
    assert goes_on(ui)


def test_a_port_in_use_is_a_user_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "pipelines.ui", "--port", str(port)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: port {port} is in use: end that program, or choose another with `make ui PORT={port + 100}`\n"
    )
