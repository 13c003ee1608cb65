"""Prefect's UI and everything that can be started from it: `make ui`. Ctrl-C ends it and the runs it started.

A server on loopback with its database in .prefect/, and a process that serves the deployments.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from pipelines.running.processes import GUARD, end_group
from stages.runtime import command
from stages.runtime.errors import UserError

HOST = "127.0.0.1"
PORT = 4200
LOGS = Path(".logs")


def run(port: int) -> None:
    """Run server and deployments until one of them ends.

    Raises:
        UserError: the port is in use, or server or deployments ended by themselves.
    """
    check_free(port)
    url = f"http://{HOST}:{port}"
    direct = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST]))
    env = {**os.environ, "PREFECT_API_URL": f"{url}/api", "no_proxy": direct, "NO_PROXY": direct}
    with ExitStack() as running:
        server = start(running, "server", ["prefect", "server", "start", "--host", HOST, "--port", str(port)], env)
        wait_for(server, f"{url}/api/health")
        served = start(running, "deployments", ["pipelines.deployments"], env)
        print(f"Prefect UI: {url} (Ctrl-C ends it and the runs that it started)", flush=True)
        while server.poll() is None and served.poll() is None:
            time.sleep(0.5)
        raise stopped("server" if served.poll() is None else "deployments")


def check_free(port: int) -> None:
    """Raise UserError if `port` is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            message = f"port {port} is in use: end that program, or choose another with `make ui PORT={port + 100}`"
            raise UserError(message) from None


def start(running: ExitStack, name: str, module: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    """A Python module that ends with `running`, as does all that it starts; its output goes to .logs/ui-<name>.log."""
    LOGS.mkdir(exist_ok=True)
    log = running.enter_context((LOGS / f"ui-{name}.log").open("w", encoding="utf-8"))
    command = [*GUARD, sys.executable, "-m", *module]
    process = subprocess.Popen(
        command, env=env, process_group=0, text=True, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
    )
    running.callback(lambda: process.stdin and process.stdin.close())
    running.callback(end_group, process)
    return process


def wait_for(server: subprocess.Popen[str], health: str) -> None:
    """Wait until the server answers; the first start makes the database, which takes minutes on a busy machine."""
    with httpx.Client(timeout=5, trust_env=False) as client:
        while server.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(health).is_success:
                    return
            time.sleep(0.5)
    raise stopped("server")


def stopped(name: str) -> UserError:
    """The error about a process that should be running, with its last line."""
    log = LOGS / f"ui-{name}.log"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return UserError(f"the {name} stopped ({lines[-1] if lines else 'no output'}): see {log}")


def main(arguments: Sequence[str]) -> None:
    """Command line; it ends when the user stops it.

    Raises:
        UserError: the server or its runs cannot be started.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"of the server (default: {PORT})")
    port = parser.parse_args(arguments).port
    if not 1 <= port <= 65_535:
        parser.error(f"--port should be from 1 to 65535, found {port}")
    run(port)


def interrupt(*_: object) -> None:
    """Treat SIGTERM like Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
