"""A download in a Prefect flow leaves no key: not in the server's database, its logs and artifacts, nor in a state."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import canaries
import pytest
from canaries import CANARIES, ECHO, FILES, leaks, left_behind, watched
from faulty_server import Fault, Site, serving
from waiting import until

pytestmark = pytest.mark.slow

PART = "vox2_dev_mp4_partaa"
SECRETS = {
    "FABNET_VOXCELEB_URL": "{url}/download?account={URL}",
    "FABNET_VOXCELEB_KEY": "{KEY}",
    "FABNET_LAB_URL": "{url}/{MIRROR}",
    "FABNET_LAB_USER": "{USER}",
    "FABNET_LAB_PASSWORD": "{PASSWORD}",
    "HTTPS_PROXY": "http://{USER}:{PROXY}@127.0.0.1:9",
}


def flow(project: Path, ui: Any, environment: dict[str, str], says: str) -> tuple[int, str]:
    """Exit status of a flow that fetches VoxCeleb2 and all that it says; the server holds the sentence of its stage."""
    command = [sys.executable, "-m", "pipelines.reproduce", "fetch@voxceleb2"]
    env = environment | {"PREFECT_API_URL": f"{ui.url}/api"}
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    logs = {"limit": 200, "sort": "TIMESTAMP_DESC"}
    assert until(lambda: any(says in line["message"] for line in ui.post("/logs/filter", logs)), 60), done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_failed_and_a_finished_flow_leave_no_secret_anywhere(tmp_path, ui):
    project = tmp_path / "project"
    canaries.make_project(project)
    seen: list[str] = []
    with serving(Site(dict(FILES))) as site:
        secrets = {name: value.format(url=site.url, **CANARIES) for name, value in SECRETS.items()}
        environment = canaries.environment(**secrets)
        site.fault = watched(seen, {PART: Fault(status=401, body=ECHO, headers={"X-Key": CANARIES["KEY"]})})
        failed, complaint = flow(project, ui, environment, "voxceleb2 is not complete")
        site.fault = watched(seen, {})
        finished, told = flow(project, ui, environment, "fetch voxceleb2: 2 files")
    assert (failed, finished) == (1, 0), complaint + told
    assert "access denied (HTTP 401)" in complaint
    assert [CANARIES["KEY"]] in [request.query.get("key") for request in site.requests]
    assert leaks(complaint + told) == seen == []
    assert left_behind(project) == {}
    assert left_behind(ui.root) == {}  # the server's database as it is on the disk, and its logs
    database = "".join(path.read_text("latin-1") for path in (ui.root / ".prefect").glob("prefect.db*"))
    assert "access denied (HTTP 401)" in database  # where a key in the same sentence would be found
