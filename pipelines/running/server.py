"""The Prefect server of this folder: `make ui` runs it, a second `make ui` and `make flow` find it again."""

import contextlib
import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import httpx

from pipelines.running import surroundings
from pipelines.running.services import service, stopped
from stages.runtime import proxies

HOST = "127.0.0.1"
PAGES = "/v2"  # of the UI; the lists of the older pages below / do not open with a mouse
FILE = Path(".prefect") / "server"  # holds the URL; locked for as long as the server runs, and after a crash it is not
# As Prefect starts its own. Header: pages may ask no other host; without it they ask a service that counts visitors.
COMMAND = (
    "uvicorn", "--factory", "pipelines.running.app:create", "--log-level", "warning",
    "--header", "Content-Security-Policy:connect-src 'self'", "--host", HOST,
    "--timeout-graceful-shutdown", "3",  # seconds for a browser that listens
)  # fmt: skip


class RunsAlreadyError(Exception):
    """The folder has a server; its URL is the argument."""


@contextmanager
def claimed(root: Path) -> Iterator[Callable[[str], None]]:
    """The right to run the server of the folder `root`, and a function that makes its URL known.

    Raises:
        RunsAlreadyError: another process has the right.
    """
    path = root / FILE
    path.parent.mkdir(exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        while not _locked(file, fcntl.LOCK_EX):
            if url := running(root):
                raise RunsAlreadyError(url)
        file.truncate(0)

        def make_known(url: str) -> None:
            file.write(url)
            file.flush()

        yield make_known


def running(root: Path) -> str:
    """URL of the server that runs for the folder `root`, empty if there is none; waits for one that is starting."""
    path = root / FILE
    if not path.exists():
        return ""
    with path.open(encoding="utf-8") as file:
        while not _locked(file, fcntl.LOCK_SH):
            if url := path.read_text(encoding="utf-8"):
                return url
            time.sleep(0.1)
    return ""


@contextmanager
def for_one_run(root: Path) -> Iterator[str]:
    """URL of the server that runs for the folder `root`, or else of one that ends with the block."""
    if url := running(root):
        yield url
        return
    with served("flow-server", free_port()) as (url, _):
        yield url


@contextmanager
def served(name: str, port: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """URL and process of a server that ends with the block.

    Raises:
        UserError: it could not start; its output is in .logs/<name>.log.
    """
    url = f"http://{HOST}:{port}"
    with service(name, [*COMMAND, "--port", str(port)], environment(url)) as process:
        with httpx.Client(timeout=5, trust_env=False) as client:
            while not _answers(client, f"{url}/api/health"):  # the first start makes the database, which takes minutes
                if process.poll() is not None:
                    raise stopped(name)
                time.sleep(0.2)
        yield url, process


def environment(url: str) -> dict[str, str]:
    """Our environment for a process that uses the server at `url`, without a proxy, and prints links to its pages.

    Of Prefect's settings only those of this folder's prefect.toml count: another server, key or database of the user
    must not come between.

    Raises:
        UserError: there is no home folder, or a proxy that no client can use.
    """
    surroundings.prepare()
    proxies.check()
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    used = {"PREFECT_API_URL": f"{url}/api", "PREFECT_UI_URL": f"{url}{PAGES}"}
    return {**others, **used, "DO_NOT_TRACK": "1", **surroundings.direct()}


def use(url: str) -> None:
    """Let Prefect in this process, and in those that it starts, use the server at `url`; before it is imported."""
    wanted = environment(url)
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _answers(client: httpx.Client, url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return client.get(url).is_success
    return False


def _locked(file: TextIO, kind: int) -> bool:
    """Whether `file` could be locked; closing it ends the lock, as does the end of the process."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
