"""DVC's graph and its command line behind one adapter; besides it, only `revisions` and `offline_plots` call DVC."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import networkx
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo

from pipelines.dvc import cut_short
from pipelines.running import surroundings
from pipelines.running.processes import Processes, StoppedError
from stages.runtime.errors import UserError

# Waiting for the lock that another DVC holds is better than failing after three seconds.
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")

# DVC's output if the stage's process was killed from outside, or if another DVC process uses the same files.
LOST = re.compile(r"exited with (-\d+|137|143)$|is busy, it is being blocked by|Unable to acquire lock")

ERROR = "error: "  # in front of every line of a stage's own error
FAILED = "ERROR: failed to reproduce"  # DVC's line about a stage, also about one that was stopped

NO_DEVICE: Mapping[str, str] = MappingProxyType({})

Outcome = Literal["ran", "restored", "unchanged"]  # restored: from DVC's cache, in place of other outputs


@dataclass(frozen=True)
class Stage:
    name: str  # as DVC names it: `crop@voxceleb1`
    upstream: tuple[str, ...]  # stages whose outputs it reads, sorted
    outs: tuple[Path, ...]


class StageError(Exception):
    """A stage exited with an error; the message is the stage's own."""


class LostError(StageError):
    """A stage lost its process or DVC's lock for a reason outside it: it may succeed if it runs again."""


def ordered(root: Path, targets: Sequence[str] = ()) -> list[Stage]:
    """The stages of DVC's graph, each after its upstreams; with `targets`, only those and what they need.

    A target is a stage (`crop@voxceleb1`) or all of its instances (`crop`).

    Raises:
        UserError: DVC cannot read the graph, or a target is not a stage.
    """
    with _repo(root) as repo:
        graph = repo.index.graph  # edges point upstream
        stages = [
            Stage(
                name=_name(node),
                upstream=tuple(sorted(map(_name, graph.successors(node)))),
                outs=tuple(Path(out.fspath) for out in node.outs),
            )
            for node in networkx.lexicographical_topological_sort(graph.reverse(), key=_name)
        ]
    wanted = _needed(stages, targets)
    return [stage for stage in stages if stage.name in wanted]


def check_targets(root: Path, targets: Sequence[str]) -> None:
    """Check that every target names a stage, with or without the instance that the parameters define.

    Raises:
        UserError: DVC cannot read the graph, or a target does not name a stage.
    """
    if targets:
        with _repo(root) as repo:
            kinds = {_kind(_name(node)) for node in repo.index.graph}
        for target in targets:
            if _kind(target) not in kinds:
                raise _no_stage(target, kinds)


def changed(root: Path) -> set[str]:
    """Names of the stages that DVC would run now if their upstreams stayed as they are.

    Raises:
        UserError: DVC cannot read the graph, or a file that it has written itself.
    """
    cut_short.check(root)
    with _repo(root) as repo, lock_repo(repo):
        return {_name(node) for node in repo.index.graph if node.status()}


def named(stages: Iterable[Stage], targets: Sequence[str]) -> set[str]:
    """Names of the stages that `targets` stand for, without their upstreams; all stages if there are no targets."""
    return {stage.name for stage in stages if not targets or {stage.name, _kind(stage.name)} & set(targets)}


def bring_up_to_date(
    root: Path,
    stage: str,
    processes: Processes,
    on_line: Callable[[str], None],
    *,
    force: bool = False,
    device: Mapping[str, str] = NO_DEVICE,
) -> Outcome:
    """Outcome of one stage, which DVC runs if it is not up to date.

    Args:
        root: folder of the repository.
        stage: name of the stage.
        processes: where DVC runs.
        on_line: called with each line of output as it arrives, without its line break.
        force: run it even if it is up to date.
        device: environment that names the GPU for the stage.

    Raises:
        LostError: the process or DVC's lock was lost for a reason outside the stage.
        StageError: the stage or DVC exited with an error.
        StoppedError: `processes` were stopped.
    """
    output = _Output(stage)
    command = [*DVC, "repro", "--single-item", *(["--force"] if force else []), stage]
    with processes.lines(command, root, {**_environment(), **device}) as process:
        for line in map(str.rstrip, process.stdout or ()):
            if not (processes.is_stopped and line.startswith(FAILED)):
                on_line(line)
            output.add(line)
        status = process.wait()
    if status == 0:
        return output.outcome
    if processes.is_stopped:
        raise StoppedError("stopped while it ran")
    raise output.error(status)


class _Output:
    """Outcome or error of a stage, read from DVC's lines."""

    def __init__(self, stage: str) -> None:
        self._running = f"Running stage '{stage}':"
        self._restored = f"Stage '{stage}' is cached - skipping run"
        self._last = ""  # line, as long as there is no error of the stage's own
        self._errors: list[str] = []  # the lines of that error, which is what a person needs to read
        self._is_lost = False
        self.outcome: Outcome = "unchanged"

    def add(self, line: str) -> None:
        if line == self._running:
            self.outcome = "ran"
        elif line.startswith(self._restored):
            self.outcome = "restored"
        if line.startswith(ERROR):
            self._errors.append(line.removeprefix(ERROR) if self._errors else line)
        self._last = line or self._last
        self._is_lost = self._is_lost or bool(LOST.search(line))

    def error(self, status: int) -> StageError:
        kind = LostError if self._is_lost or status < 0 else StageError
        said = "; ".join(self._errors) or self._last
        return kind(said if said and status > 0 else f"ended with status {status}")


def metrics(root: Path) -> dict[str, Any]:
    """Content of the metric files that DVC tracks, by path. Files not written yet are left out."""
    with _repo(root) as repo:
        files = repo.metrics.show()[""]["data"]
    return {name: file["data"] for name, file in files.items() if file.get("data")}


def settings(root: Path) -> Mapping[str, Any]:
    """Sections `cache`, `core` and `remote` of DVC's merged configuration."""
    with _repo(root) as repo:
        return {section: dict(repo.config.get(section, {})) for section in ("cache", "core", "remote")}


def _name(node: Any) -> str:
    """Name of a stage, a node of DVC's graph, on DVC's command line in the root of the repository."""
    if node.path_in_repo == "dvc.yaml":
        return node.name
    return f"{node.path_in_repo}:{node.name}" if hasattr(node, "name") else node.path_in_repo


def _kind(name: str) -> str:
    return name.split("@", maxsplit=1)[0]


def _needed(stages: Sequence[Stage], targets: Sequence[str]) -> set[str]:
    """Names of `targets` and of everything upstream of them; all stages if there are no targets."""
    names = {stage.name for stage in stages}
    kinds = set(map(_kind, names))
    for target in targets:
        if target not in names | kinds:
            raise _no_stage(target, kinds)
    wanted = named(stages, targets)
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted.update(stage.upstream)
    return wanted


def _no_stage(target: str, kinds: set[str]) -> UserError:
    return UserError(f"no stage {target!r}: expected one of {', '.join(sorted(kinds))}")


def _environment() -> dict[str, str]:
    """Our environment, with this Python as the `python` of the stages and their output unbuffered.

    Threads of PyTorch wait for each other asleep: awake, they hold the cores that the stages beside them need.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"OMP_WAIT_POLICY": "passive", **os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


@contextmanager
def _repo(root: Path) -> Iterator[Repo]:
    surroundings.prepare()
    try:
        with Repo(str(root), _wait_for_lock=True) as repo:  # as DVC's option --wait-for-lock passes it
            yield repo
    except DvcException as error:
        cut_short.check(root)
        raise UserError(f"DVC cannot read the pipeline: {_sentence(error)}") from None


def _sentence(error: DvcException) -> str:
    mistakes = getattr(error.__cause__, "errors", [])  # where dvc.yaml does not fit DVC's schema
    return " ".join(": ".join(map(str, [error, *mistakes])).split())
