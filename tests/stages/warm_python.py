"""A `python` and a `dvc` that start at once: each is forked from one process that has imported the large packages.

A fork knows nothing of the project: it imports its modules from the folder in which the command runs, as a process that
starts anew. It gets the arguments, the environment, the folder and the standard streams of the command, works on one
core, and ends when the command is killed. Other commands than `-m stages.…`, `-m pipelines.…` and `dvc` start as ever.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

# What is imported before the first command of a package is forked, beside what that brings along.
LARGE = {
    "dvc": (
        "dulwich.worktree", "dvc.analytics", "dvc.cli", "dvc.commands.repro", "dvc.compare", "dvc.data_cloud",
        "dvc.repo.reproduce", "dvc.stage.run", "dvc_render.image", "dvc_render.vega", "scmrepo.git",
    ),
    "stages": (
        "av", "cv2", "dlib", "h2.connection", "httpx", "jinja2", "matplotlib.backends.backend_agg",
        "matplotlib.figure", "networkx", "openpyxl", "pyarrow.compute", "pyarrow.csv", "pyarrow.parquet",
        "pydantic.dataclasses", "pydantic.json_schema", "rarfile", "ruamel.yaml", "safetensors.torch", "scipy.ndimage",
        "scipy.optimize", "scipy.special", "tenacity", "torch",
    ),
}  # fmt: skip
LARGE["pipelines"] = LARGE["stages"]

# Hands a command over; run by /bin/sh, because the name of our Python may be too long for `#!`.
PYTHON = """#!/bin/sh
case "$1 $2" in
  -m\\ stages.*|-m\\ pipelines.*|-m\\ dvc) exec '{python}' -IS '{this}' hand-over '{address}' "$@";;
esac
exec '{python}' "$@"
"""
DVC = """#!/bin/sh
exec "${0%/*}/python" -m dvc "$@"
"""


@cache
def folder() -> Path:
    """The folder of both commands; on other systems than Linux, of our Python."""
    return started() if hasattr(os, "pidfd_open") else Path(sys.executable).parent


def path(first: Path | None = None) -> str:
    """PATH with both commands in front, or another folder with such commands, and then our Python."""
    return os.pathsep.join([str(first or folder()), str(Path(sys.executable).parent), os.environ["PATH"]])


def run(*command: str, cwd: Path, first: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """How a command that starts with `python` or `dvc` ended; `first`: their folder, if not the common one."""
    env = {**os.environ, "PATH": path(first), **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def started() -> Path:
    """A folder with both commands. The process behind them ends with this one, and removes it."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = folder / "socket"
    text = PYTHON.format(python=sys.executable, this=__file__, address=address)
    for name, content in (("python", text), ("dvc", DVC)):
        (folder / name).write_text(content, encoding="utf-8")
        (folder / name).chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, __file__, "serve", str(address)]
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout.read(1), "the warm Python does not start"
    atexit.register(_end, process)
    return folder


def _end(process: subprocess.Popen[bytes]) -> None:
    sys.stderr.buffer.write(process.communicate()[0])  # nothing, but for an error of its own


@dataclass(frozen=True)
class Request:
    """A command with all that a process is given at its start."""

    module: str
    arguments: list[str]
    folder: str
    group: int
    environment: dict[str, str]
    standard: list[int]  # descriptors of its standard streams


def serve(address: str) -> None:
    """Fork a process for each command until standard input closes; goes on in each of them as its command."""
    installed = sys.path[1:]  # without the folder of this file
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        os.write(1, b".")
        request = _forked(listening)
    _become(request, installed)


def _forked(listening: socket.socket) -> Request:
    """What this fork of the process is to run; the process itself does not come back."""
    running: dict[int, tuple[int, socket.socket]] = {}  # by a descriptor that can be read once the fork has ended
    while True:
        killed = {connection.fileno(): pid for pid, connection in running.values()}
        found = select.select([0, listening.fileno(), *running, *killed], [], [])[0][0]
        if found == 0:
            shutil.rmtree(Path(listening.getsockname()).parent)
            _kill(pid for pid, _ in running.values())
        elif found == listening.fileno():
            connection = listening.accept()[0]
            request = _received(connection)
            _import(request.module.split(".")[0])
            if (pid := os.fork()) == 0:
                return request
            running[os.pidfd_open(pid)] = pid, connection
            for descriptor in request.standard:
                os.close(descriptor)
        elif found in running:
            pid, connection = running.pop(found)
            os.close(found)
            with connection, contextlib.suppress(BrokenPipeError):
                connection.sendall(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        else:
            os.kill(killed[found], signal.SIGKILL)


@cache
def _import(package: str) -> None:
    for name in LARGE[package]:
        import_module(name)
    gc.freeze()  # what forks share stays shared


def _kill(running: Iterable[int]) -> NoReturn:
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _received(connection: socket.socket) -> Request:
    size, standard, *_ = socket.recv_fds(connection, 8, 3)
    text = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    return Request(**json.loads(text), standard=standard)


def _become(request: Request, installed: list[str]) -> None:
    for number, descriptor in enumerate(request.standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request.environment)
    with contextlib.suppress(PermissionError):  # a group of another session
        os.setpgid(0, request.group)
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)
    os.chdir(request.folder)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [cores[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % len(cores)]])
    sys.argv = [request.module, *request.arguments]
    sys.path[:] = [request.folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *installed]
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
        if status and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End as Python ends, but for taking all modules apart, which takes longer than many a command."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


def hand_over(address: str, module: str, arguments: list[str]) -> None:
    """Have the command run, and end as it ends."""
    given = {"module": module, "arguments": arguments, "folder": str(Path.cwd()), "group": os.getpgrp()}
    request = json.dumps({**given, "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        told = connection.recv(8)
    if not told:
        sys.exit("the warm Python has ended")
    status = int(told)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        hand_over(sys.argv[2], sys.argv[4], sys.argv[5:])
