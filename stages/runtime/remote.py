"""What a worker of a Dask cluster runs: a look at what it has in common with the process that sends work, and the work.

One unit at a time, with a single OpenCV thread: bytes are those of a local process.
"""

import hashlib
import pickle
import socket
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
from distributed import Worker, get_worker

import fabnet
import stages
from stages.runtime import limits
from stages.runtime.errors import UserError

PACKAGES = ("torch", "numpy", "opencv-python", "av", "dlib-bin", "dlib", "pyarrow", "distributed")


@dataclass(frozen=True)
class Project:
    """What a worker must have in common with the process that sends work."""

    token: Path  # a file in a folder that all machines share
    text: str  # what the file holds
    code: str  # digest of it
    versions: tuple[tuple[str, str], ...]  # of Python and packages, by name


class UnfitError(Exception):
    """A unit came to a worker that must not do it."""


def project(token: Path) -> Project:
    """That of this process."""
    return Project(token, token.read_text(encoding="utf-8"), code(), versions())


def examine(expected: Project, dask_worker: Worker) -> tuple[str, str]:
    """Name of the worker's machine; and what is wrong with the worker and what to do, empty if it fits."""
    return socket.gethostname(), _problem(expected, dask_worker.state.nthreads)


def run_unit(expected: Project, payload: bytes) -> Any:
    """The result of a pickled function for its pickled input, within the pickled limits.

    Raises:
        UnfitError: this worker differs from what is expected.
        UserError: that of the function, with the name of the machine.
    """
    machine = socket.gethostname()
    if problem := _problem(expected, get_worker().state.nthreads):
        raise UnfitError(f"the one on {machine} {problem}")
    cv2.setNumThreads(1)
    work, unit, now = pickle.loads(payload)
    limits.use(now)
    try:
        return work(unit)
    except UserError as error:
        raise UserError(f"{error} (on {machine})") from None


@cache
def code() -> str:
    """Digest of the project's code as this process knows it: later edits do not reach it."""
    digest = hashlib.sha256()
    for package in (fabnet, stages):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package.__name__}/{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def versions() -> tuple[tuple[str, str], ...]:
    """Of Python and of the packages that results depend on."""
    return (("python", sys.version.split()[0]), *((name, _version(name)) for name in PACKAGES))


@cache  # a run of a stage has a token of its own
def _problem(expected: Project, threads: int) -> str:
    if threads != 1:
        return f"works on {threads} units at once: start it with `--nthreads 1 --nworkers {threads}`"
    if not _sees(expected):
        return (
            f"cannot read the folder {expected.token.parent} from {Path.cwd()}: start it in the project's folder, "
            "on a disk that all machines share"
        )
    if expected.code != code():
        return "runs other code than this process: give it the same commit, and start it again"
    for (name, wanted), (_, found) in zip(expected.versions, versions(), strict=True):
        if wanted != found:
            return f"has {name} {found} instead of {wanted}: start it from the environment of this process"
    return ""


def _sees(expected: Project) -> bool:
    try:
        return expected.token.read_text(encoding="utf-8") == expected.text
    except OSError:  # not there, or another user's
        return False


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(none)"
