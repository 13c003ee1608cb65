"""`make ui` in a folder, and what its forms do, through the server's API."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from prefect.client.base import PrefectHttpxSyncClient
from tiny_repository import ROOT
from waiting import until

from pipelines.running.server import free_port

PAGE = (ROOT / "docs" / "prefect-ui.md").read_text(encoding="utf-8")
DOCUMENTED = re.findall(r"^\| \*(.+?)\* \|", PAGE, re.MULTILINE)  # deployments
ADDRESS = re.compile(r"Prefect UI: (?P<pages>http\S+) \(Ctrl-C ends it")
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
TIMEOUT_S = 800  # for what takes seconds on an idle machine


@dataclass(frozen=True)
class Ui:
    root: Path
    url: str  # of the server
    pages: str  # the address that `make ui` prints
    process: psutil.Popen

    def asked(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> Any:
        """The server's answer; while its database is busy it answers 503, and Prefect's client asks again."""
        with PrefectHttpxSyncClient(base_url=f"{self.url}/api", timeout=60) as client:
            return client.request(method, path, json=content).raise_for_status().json()

    def post(self, path: str, content: Mapping[str, Any] = {}) -> Any:
        return self.asked("POST", path, content)

    def deployments(self) -> dict[str, Any]:
        return {found["name"]: found for found in self.post("/deployments/filter")}

    def begin(self, deployment: str, **parameters: Any) -> str:
        """The id of a run that the form of a deployment would start."""
        place = f"/deployments/{self.deployments()[deployment]['id']}/create_flow_run"
        return self.post(place, {"parameters": parameters})["id"]

    def state(self, run: str) -> dict[str, Any]:
        return self.asked("GET", f"/flow_runs/{run}")["state"]

    def parameters(self, run: str) -> dict[str, Any]:
        return self.asked("GET", f"/flow_runs/{run}")["parameters"]

    def end(self, run: str) -> dict[str, Any]:
        """The final state of a run."""
        assert until(lambda: self.state(run)["type"] in ENDED, TIMEOUT_S), self.log("deployments")
        return self.state(run)

    def cancel(self, run: str) -> None:
        """What the button in the UI does."""
        self.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def artifacts(self, run: str) -> dict[str, Any]:
        only = {"flow_runs": {"id": {"any_": [run]}}}
        return {found["key"]: found for found in self.post("/artifacts/filter", only)}

    def lines(self, run: str) -> list[dict[str, Any]]:
        """The log of a run."""
        return self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})

    def log(self, name: str) -> str:
        return (self.root / ".logs" / f"ui-{name}.log").read_text(encoding="utf-8")


@contextlib.contextmanager
def opened(root: Path) -> Iterator[Ui]:
    """The UI over the repository in `root`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    port = free_port()
    process = psutil.Popen(
        [sys.executable, "-m", "pipelines.ui", "--port", str(port)],
        cwd=root, env={**inherited, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        printed = ADDRESS.match(process.stdout.readline())
        assert printed
        ui = Ui(root, f"http://127.0.0.1:{port}", printed["pages"], process)
        assert until(lambda: len(ui.deployments()) == len(DOCUMENTED), TIMEOUT_S), ui.log("deployments")
        yield ui
    finally:
        process.terminate()
        process.wait(timeout=300)
        process.stdout.close()
