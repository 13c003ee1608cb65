"""Kills a stage at one of its file operations, or at a moment, in a process of its own; what is left can be looked at.

The processes are forked from one that has imported all stages, so that a kill costs what the stage itself takes.
"""

import io
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
from small_stages import SMALL

from stages.runtime import command

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["small_stages"])
WRITES = os.O_WRONLY | os.O_RDWR
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
MAKES = {"open", "os.mkdir", "os.link", "os.symlink"}
LIMIT_S = 600
GRACE_S = 10  # in which what a killed process has started ends


@dataclass(frozen=True)
class Kill:
    """A kill before the file operation number `at`, or after `after_s` seconds.

    With an error number, the stage is not killed: from that operation on, whatever makes a file or folder fails.
    """

    at: int = 0
    after_s: float = 0.0
    error: int = 0


NONE = Kill()


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Ended:
    status: int  # exit status, negative for a signal
    operations: int  # file operations up to the end; 0 after a kill
    makes: list[int]  # which of them make a file or folder
    errors: str  # what it said on standard error; empty after a kill
    seconds: float
    orphans: list[int]  # processes that it had started and that go on without it


def run(
    name: str,
    inputs: Path,
    work: Path,
    *,
    kill: Kill = NONE,
    before: Callable[[], object] = _nothing,
    stopped: Callable[[], object] = _nothing,
) -> Ended:
    """How the stage ended, as its command ends.

    Args:
        name: of the stage.
        inputs: what its `prepare` has written.
        work: for its journal and outputs.
        kill: when it is killed.
        before: called in its process before it begins.
        stopped: called here at the moment of the kill, while the process stands still.
    """
    _start_server()
    theirs, ours = CONTEXT.Pipe()
    how = {"kill": kill, "before": before, "pipe": ours}
    process = CONTEXT.Process(target=_child, args=(name, inputs, work), kwargs=how)
    process.start()
    ours.close()
    start = time.monotonic()
    try:
        if kill.after_s:
            theirs.recv()  # it has begun
            process.join(kill.after_s)
            if process.exitcode is None:
                os.kill(process.pid or 0, signal.SIGSTOP)
                stopped()
                process.kill()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"{name} hangs")
        seconds = time.monotonic() - start
        return Ended(process.exitcode, *_last(theirs), seconds, _remaining(process.pid or 0))
    finally:
        theirs.close()


def _remaining(session: int) -> list[int]:
    """The processes of a session that are still there after a while; they are ended."""
    deadline = time.monotonic() + GRACE_S
    while (found := _members(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for number in found:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return found


def _members(session: int) -> list[int]:
    found: list[int] = []
    for number in psutil.pids():
        with suppress(ProcessLookupError, psutil.Error):
            if os.getsid(number) == session and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                found.append(number)
    return found


@lru_cache
def _start_server() -> None:
    """Start the process that is forked; Python before 3.13 does not tell it where this one finds its modules."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _last(pipe: Any) -> tuple[int, list[int], str]:
    """What the process has told last."""
    told: tuple[int, list[int], str] = 0, [], ""
    try:
        while pipe.poll():
            told = pipe.recv()
    except EOFError:
        pass
    return told


def _child(name: str, inputs: Path, work: Path, *, kill: Kill, before: Callable[[], object], pipe: Any) -> None:
    os.setsid()  # by which what it starts is found
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {_core()})  # all in this process, and no order but its own
    import torch

    torch.set_num_threads(1)
    operations, makes = 0, list[int]()

    def count(event: str, arguments: Any) -> None:
        nonlocal operations
        if _changes(event, arguments, str(work)):
            operations += 1
            if event in MAKES and not (event == "os.mkdir" and Path(arguments[0]).is_dir()):
                makes.append(operations)
                if kill.error and operations >= kill.at:
                    raise OSError(kill.error, os.strerror(kill.error), str(arguments[0]))
            if not kill.error and operations == kill.at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    pipe.send((0, [], ""))
    before()
    with redirect_stderr(io.StringIO()) as errors:
        status = command.guarded(lambda: SMALL[name].run(inputs, work) and None)
    pipe.send((operations, makes, errors.getvalue()))
    sys.exit(status)


def _core() -> int:
    """A core of its own for every process of the tests."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(cores)]


def _changes(event: str, arguments: Any, work: str) -> bool:
    """Whether the operation changes something in the folder `work`."""
    if event == "open":
        path, _, flags = arguments
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(work) and bool(flags & WRITES)
    if event not in OPERATIONS:
        return False
    in_a_folder = isinstance(arguments[-1], int) and arguments[-1] >= 0  # a name in an open folder, as rmtree has it
    return in_a_folder or str(arguments[0]).startswith(work)


def files(folder: Path) -> dict[str, bytes]:
    """Content of a file, or of all files in a folder, by name; links are read."""
    if folder.is_file():
        return {"": folder.read_bytes()}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def outs(name: str, work: Path) -> dict[str, dict[str, bytes]]:
    """Content of every output of the stage that is there."""
    return {out: files(work / out) for out in SMALL[name].outs if (work / out).exists()}


def names(work: Path) -> set[str]:
    """Everything that lies in the folder `work`."""
    return {path.relative_to(work).as_posix() for path in work.rglob("*")}


@dataclass(frozen=True)
class Whole:
    """What a stage makes that is not killed."""

    inputs: Path
    outs: dict[str, dict[str, bytes]]
    names: set[str]  # of all that lies there at the end
    operations: int
    makes: list[int]  # those that make a file or folder
    seconds: float


def whole(name: str, root: Path) -> Whole:
    """Prepare the stage and run it in the empty folder `root`."""
    inputs, work = fresh(root / "inputs"), fresh(root / "work")
    SMALL[name].prepare(inputs)
    ended = run(name, inputs, work)
    assert ended.status == 0
    made = Whole(inputs, outs(name, work), names(work), ended.operations, ended.makes, ended.seconds)
    assert set(made.outs) == set(SMALL[name].outs)
    return made


def older(name: str, work: Path, whole: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """An earlier result, which is written into `work`: other bytes, and a file too many in every folder."""
    for out, content in whole.items():
        of_out = dict.fromkeys(content, b"older") | ({} if "" in content else {"older": b"older"})
        for file in of_out:
            path = work / out / file if file else work / out
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(of_out[file])
    return outs(name, work)


def fresh(work: Path) -> Path:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work
