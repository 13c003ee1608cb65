"""DVC's graph and its command line behind one adapter; besides it, only `revisions` calls DVC."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import networkx
from dvc.exceptions import DvcException
from dvc.repo import Repo

from pipelines.processes import Processes
from stages.errors import UserError

# Waiting for the lock that another DVC holds is better than failing after three seconds.
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")

Outcome = Literal["ran", "unchanged"]


@dataclass(frozen=True)
class Stage:
    name: str  # as DVC addresses it: `crop@voxceleb1`
    upstream: tuple[str, ...]  # stages whose outputs it reads, sorted
    outs: tuple[Path, ...]


class StageError(Exception):
    """A stage exited with an error; the message is its own sentence."""


def ordered(root: Path, targets: Sequence[str] = ()) -> list[Stage]:
    """The stages of DVC's graph, each after its upstreams; with `targets`, only those and what they need.

    A target is a stage (`crop@voxceleb1`) or all of its instances (`crop`).

    Raises:
        UserError: DVC cannot read the graph, or a target is no stage.
    """
    with _repo(root) as repo:
        graph = repo.index.graph  # edges point upstream
        stages = [
            Stage(
                name=_address(node),
                upstream=tuple(sorted(map(_address, graph.successors(node)))),
                outs=tuple(Path(out.fspath) for out in node.outs),
            )
            for node in networkx.lexicographical_topological_sort(graph.reverse(), key=_address)
        ]
    wanted = _needed(stages, targets)
    return [stage for stage in stages if stage.name in wanted]


def changed(root: Path) -> set[str]:
    """Names of the stages that DVC would run now, were their upstreams left as they are."""
    return set(_answer(root, "status", "--json"))


def bring_up_to_date(root: Path, stage: str, processes: Processes, on_line: Callable[[str], None]) -> Outcome:
    """Let DVC run one stage, if it finds that it has to; `on_line` gets every line of output as it comes.

    Raises:
        StageError: the stage or DVC exited with an error.
    """
    last, outcome = "", "unchanged"
    with processes.lines([*DVC, "repro", "--single-item", stage], root, _environment()) as process:
        for raw in process.stdout or ():
            line = raw.rstrip()
            on_line(line)
            outcome = "ran" if line == f"Running stage '{stage}':" else outcome
            last = line if line and not last.startswith("error: ") else last
        if process.wait() != 0:
            raise StageError(last if last and process.returncode > 0 else f"ended with status {process.returncode}")
    return outcome


def metrics(root: Path) -> dict[str, Any]:
    """The metric files that DVC tracks: path, then what it holds. Files not written yet are left out."""
    files = _answer(root, "metrics", "show", "--json").get("", {}).get("data", {})
    return {name: content["data"] for name, content in files.items() if content.get("data")}


def settings(root: Path) -> Mapping[str, Any]:
    """The sections `cache`, `core` and `remote` of DVC's merged configuration."""
    with _repo(root) as repo:
        return {section: dict(repo.config.get(section, {})) for section in ("cache", "core", "remote")}


def _address(node: Any) -> str:
    """How DVC's command line, called in the repository's root, names a stage: a node of DVC's graph."""
    if node.path_in_repo == "dvc.yaml":
        return node.name
    return f"{node.path_in_repo}:{node.name}" if hasattr(node, "name") else node.path_in_repo


def _needed(stages: Sequence[Stage], targets: Sequence[str]) -> set[str]:
    """Names of `targets` and of everything upstream of them; of all stages without targets."""
    groups = {stage.name: stage.name.split("@")[0] for stage in stages}
    for target in targets:
        if target not in groups and target not in groups.values():
            raise UserError(f"no stage {target!r}: expected one of {', '.join(sorted(set(groups.values())))}")
    wanted = {name for name, group in groups.items() if not targets or name in targets or group in targets}
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted.update(stage.upstream)
    return wanted


def _environment() -> dict[str, str]:
    """Ours, with this Python as the `python` of the stages and their output unbuffered."""
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONUNBUFFERED": "1"}


def _answer(root: Path, *arguments: str) -> dict[str, Any]:
    """What a DVC command answers as JSON."""
    done = subprocess.run([*DVC, *arguments], cwd=root, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"dvc {arguments[0]} failed: {_sentence(done.stderr)}")
    return json.loads(done.stdout)


@contextmanager
def _repo(root: Path) -> Iterator[Repo]:
    try:
        with Repo(str(root)) as repo:
            yield repo
    except DvcException as error:
        raise UserError(f"DVC cannot read the pipeline: {_sentence(str(error))}") from None


def _sentence(text: str) -> str:
    return " ".join(text.split()).removeprefix("ERROR: ")
