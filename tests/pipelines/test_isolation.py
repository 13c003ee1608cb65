"""A run in surroundings that would lead it elsewhere: a proxy, the user's own profile of Prefect, foreign hosts."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from tiny_repository import ROOT

pytestmark = pytest.mark.slow

PROFILE = """
active = "work"
[profiles.work]
PREFECT_API_URL = "{url}/api"
PREFECT_API_KEY = "canary"
PREFECT_SERVER_DATABASE_CONNECTION_URL = "sqlite+aiosqlite:///{home}/users.db"
"""

# Python imports a module of this name at its start: every attempt to reach a host beyond loopback is a line of a file.
WATCH = """
import os, sys
def heard(event, args):
    name = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}.get(event)
    if name is None or not args[name]:
        return
    host = args[name][0] if isinstance(args[name], tuple) else args[name]
    if isinstance(args[name], tuple) or event != "socket.connect":
        if host not in ("127.0.0.1", "localhost", "::1", b"127.0.0.1", b"localhost"):
            with open(os.environ["HEARD"], "a") as file:
                file.write(f"{event} {host} {sys.argv}\\n")
sys.addaudithook(heard)
"""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """URL of a server that nothing should ask, and what it was asked."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            asked.append(self.raw_requestline.decode())
            return False

        def log_message(self, *_: object) -> None:
            """Requests are kept in `asked`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture
def surrounded(tmp_path: Path, elsewhere: tuple[str, list[str]]) -> dict[str, str]:
    """The environment of a user with a proxy and a profile of Prefect, in which attempts to leave are written down."""
    url, _ = elsewhere
    home = tmp_path / "home"
    (home / ".prefect").mkdir(parents=True)
    (home / ".prefect" / "profiles.toml").write_text(PROFILE.format(url=url, home=home))
    (home / "sitecustomize.py").write_text(WATCH)
    ours = ("PREFECT_", "NO_PROXY", "no_proxy", "DO_NOT_TRACK", "DVC_NO_ANALYTICS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    proxies = {f"{kind}_PROXY": url for kind in ("HTTP", "HTTPS", "ALL")}
    used = {"HOME": str(home), "PYTHONPATH": f"{home}{os.pathsep}{ROOT}", "HEARD": str(tmp_path / "heard")}
    return {**inherited, **proxies, **{name.lower(): value for name, value in proxies.items()}, **used}


def test_an_attempt_to_leave_is_heard(tmp_path, surrounded):
    code = "import socket; socket.getaddrinfo('192.0.2.1', 80); socket.getaddrinfo('127.0.0.1', 80)"  # no lookup
    subprocess.run([sys.executable, "-c", code], env=surrounded, check=True)
    assert (tmp_path / "heard").read_text() == "socket.getaddrinfo 192.0.2.1 ['-c']\n"


def test_a_flow_leaves_neither_for_the_proxy_nor_for_the_users_own_server(tiny, tmp_path, elsewhere, surrounded):
    command = [sys.executable, "-m", "pipelines.reproduce", "solid"]
    done = subprocess.run(command, cwd=tiny, env=surrounded, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 stages: 2 ran" in done.stdout
    assert elsewhere[1] == []
    assert not (tmp_path / "heard").exists(), (tmp_path / "heard").read_text()
    assert not (tmp_path / "home" / "users.db").exists()
    assert (tiny / ".prefect" / "prefect.db").exists()


def test_a_run_without_prefect_tries_to_reach_no_host(tiny, tmp_path, surrounded, monkeypatch):
    for name, value in surrounded.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DVC_NO_ANALYTICS")
    for command in (["repro", "solid"], ["status"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tiny, capture_output=True, check=True)
    assert not (tmp_path / "heard").exists(), (tmp_path / "heard").read_text()


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:1", 200), ("localhost", 200), ("attacker.example", 400)])
def test_the_server_answers_requests_to_loopback_alone(ui, host, status):
    with httpx.Client(trust_env=False) as client:
        for path in ("/api/health", "/v2/"):
            assert client.get(f"{ui.url}{path}", headers={"Host": host}, follow_redirects=True).status_code == status
