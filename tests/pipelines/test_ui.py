"""What can be started from Prefect's UI, and what becomes of a run that is cancelled or killed: on a real server."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from running_ui import PATIENCE_S, Ui, opened
from tiny_repository import ROOT
from waiting import sleepers, until

from stages.runtime import config
from stages.runtime.files import file_digest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ui(made, tmp_path_factory) -> Iterator[Ui]:
    root = shutil.copytree(made, tmp_path_factory.mktemp("ui") / "tiny")
    shutil.copy(ROOT / "profiles" / "sample.yaml", root / "params.yaml")
    with opened(root) as running:
        yield running


def hang(ui: Ui) -> str:
    """A run whose stage `fragile` sleeps, with a child."""
    (ui.root / "switch").write_text("sleep")
    run = ui.begin("reproduce", targets=["fragile"])
    assert until(lambda: len(sleepers()) == 2, PATIENCE_S), ui.log("deployments")
    return run


def goes_on(ui: Ui) -> bool:
    """Whether the next run completes."""
    (ui.root / "switch").write_text("work")
    return ui.end(ui.begin("reproduce", targets=["fragile"]))["type"] == "COMPLETED"


def test_four_deployments_are_served_and_the_schedule_is_off(ui):
    served = ui.deployments()
    assert set(served) == {"reproduce", "fetch only", "evaluate an encoder", "embed videos"}
    assert [schedule["active"] for found in served.values() for schedule in found["schedules"]] == [False]


def test_the_form_offers_names_to_choose_from(ui):
    fields = ui.deployments()["reproduce"]["parameter_openapi_schema"]["properties"]
    assert fields["profile"]["enum"] == ["as in params.yaml", "paper", "sample", "small", "study"]
    assert "vicreg" in fields["methods"]["items"]["enum"]
    assert "w300" in fields["data_sets"]["items"]["enum"]
    assert all(field["description"] for field in fields.values())


def test_what_is_chosen_is_in_params_yaml_and_shown(ui):
    run = ui.begin("reproduce", targets=["fetch@y"], methods=["fabnet", "pca"], seeds=[0, 1])
    assert ui.end(run)["type"] == "COMPLETED"
    params = (ui.root / "params.yaml").read_text(encoding="utf-8")
    assert "\nmethods: [fabnet, pca] " in params
    assert "\n+seeds: [0, 1]" in ui.artifacts(run)["parameters"]["data"]


def test_a_wrong_choice_fails_in_one_sentence_and_changes_nothing(ui):
    before = (ui.root / "params.yaml").read_bytes()
    state = ui.end(ui.begin("reproduce", methods=["random", "fabnet_sources"]))
    assert (state["type"], state["message"].count("\n")) == ("FAILED", 0)
    assert "refine.start should be one of `pretrained`" in state["message"]
    assert (ui.root / "params.yaml").read_bytes() == before


def test_an_encoder_without_its_digest_is_told_it(ui):
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
    assert until(lambda: sleepers() == [], PATIENCE_S)
    assert goes_on(ui)


def test_a_killed_worker_leaves_nothing_running_and_the_next_run_goes_on(ui):
    run = hang(ui)
    worker = next(p for p in sleepers()[0].parents() if "prefect.engine" in " ".join(p.cmdline()))
    worker.kill()
    assert until(lambda: sleepers() == [], PATIENCE_S)
    assert not (ui.root / "fragile.txt").exists()
    assert ui.end(run)["type"] == "CRASHED"
    assert goes_on(ui)


def test_a_stage_whose_process_is_killed_is_tried_again(ui):
    run = hang(ui)
    (ui.root / "switch").write_text("work")
    sleepers()[0].parent().kill()
    assert ui.end(run)["type"] == "COMPLETED"


def test_stopping_the_ui_ends_server_deployments_and_stages(tiny):
    with opened(tiny) as ui:
        hang(ui)
        started = ui.process.children(recursive=True)
    assert len(started) >= 6
    assert until(lambda: not any(process.is_running() for process in started), PATIENCE_S), started
    assert ui.process.returncode == 130


def test_a_port_that_is_taken_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "pipelines.ui", "--port", str(port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: port {port} is taken: end what uses it, or choose another with `make ui PORT={port + 100}`\n"
    )
