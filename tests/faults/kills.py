"""Kills a stage at one of its file operations, or at a moment, in a process of its own; what is left can be looked at.

The processes are forked from one that has imported all stages, so that a kill costs what the stage itself takes.
"""

import io
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from small_stages import SMALL

from stages.runtime import command

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["small_stages"])
WRITES = os.O_WRONLY | os.O_RDWR
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
LIMIT_S = 300


@dataclass(frozen=True)
class Ended:
    status: int  # exit status, negative for a signal
    operations: int  # file operations up to the end; 0 after a kill
    errors: str  # what it said on standard error; empty after a kill


def run(name: str, inputs: Path, work: Path, *, at: int = 0, after_s: float = 0.0, most_bytes: int = 0) -> Ended:
    """How the stage ended, as its command ends.

    It is killed before its file operation number `at`, or after `after_s` seconds; with `most_bytes`, the system
    refuses to let any file grow further, as a full disk does.
    """
    _start_server()
    theirs, ours = CONTEXT.Pipe()
    limits = {"at": at, "most_bytes": most_bytes, "pipe": ours}
    process = CONTEXT.Process(target=_child, args=(name, inputs, work), kwargs=limits)
    process.start()
    ours.close()
    try:
        if after_s:
            theirs.recv()  # it has begun
            time.sleep(after_s)
            process.kill()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"{name} hangs")
        return Ended(process.exitcode, *_last(theirs))
    finally:
        theirs.close()


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


def _last(pipe: Any) -> tuple[int, str]:
    """What the process has told last."""
    told = 0, ""
    try:
        while pipe.poll():
            told = pipe.recv()
    except EOFError:
        pass
    return told


def _child(name: str, inputs: Path, work: Path, *, at: int, most_bytes: int, pipe: Any) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # all in this process, and no order but its own
    import torch

    torch.set_num_threads(1)
    operations = 0

    def count(event: str, arguments: Any) -> None:
        nonlocal operations
        if _changes(event, arguments, str(work)):
            operations += 1
            if operations == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    pipe.send((0, ""))
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    with redirect_stderr(io.StringIO()) as errors:
        status = command.guarded(lambda: SMALL[name].run(inputs, work) and None)
    pipe.send((operations, errors.getvalue()))
    sys.exit(status)


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
