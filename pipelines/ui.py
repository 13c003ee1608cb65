"""Prefect's UI and everything that can be started from it: `make ui`. Ctrl-C ends it and the runs it started.

A server on loopback with its database in .prefect/, and a process that serves the deployments.
"""

import argparse
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from pipelines.running import server
from pipelines.running.services import service, stopped
from stages.runtime import command
from stages.runtime.errors import UserError

PORT = 4200
SERVER = "ui-server"  # name of its log
DEPLOYMENTS = "pipelines.deployments"


def run(port: int, *, server_only: bool = False) -> None:
    """Run server and deployments until one of them ends; if they run already, say where.

    Raises:
        UserError: the port is in use, or server or deployments ended by themselves.
    """
    try:
        with server.claimed(Path()) as make_known:
            check_free(port)
            serve(port, make_known, [] if server_only else [DEPLOYMENTS])
    except server.RunsAlreadyError as found:
        print(f"Prefect UI: {found}{server.PAGES}/ (it is already running)")


def serve(port: int, make_known: Callable[[str], None], modules: Sequence[str]) -> NoReturn:
    """Run the server and modules that use it until one of them ends.

    Raises:
        UserError: one of them ended by itself.
    """
    with server.served(SERVER, port) as (url, serving), ExitStack() as using:
        make_known(url)
        running = {SERVER: serving}
        for module in modules:
            name = f"ui-{module.rsplit('.', 1)[-1]}"
            running[name] = using.enter_context(service(name, [module], server.environment(url)))
        print(f"Prefect UI: {url}{server.PAGES}/ (Ctrl-C ends it and the runs that it started)", flush=True)
        while not (ended := [name for name, process in running.items() if process.poll() is not None]):
            time.sleep(0.5)
        raise stopped(ended[0])


def check_free(port: int) -> None:
    """Raise UserError if `port` is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.HOST, port))
        except OSError:
            message = f"port {port} is in use: end that program, or choose another with `make ui PORT={port + 100}`"
            raise UserError(message) from None


def main(arguments: Sequence[str]) -> None:
    """Command line; it ends when the user stops it.

    Raises:
        UserError: the server or its runs cannot be started.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"of the server (default: {PORT})")
    parser.add_argument("--server-only", action="store_true", help="no deployments: another machine serves them")
    options = parser.parse_args(arguments)
    if not 1 <= options.port <= 65_535:
        parser.error(f"--port should be from 1 to 65535, found {options.port}")
    run(options.port, server_only=options.server_only)


def interrupt(*_: object) -> None:
    """Treat SIGTERM like Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
