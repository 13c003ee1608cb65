"""What this installation runs on, and what is wrong with it: `make doctor`."""

import argparse
import getpass
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement

from pipelines import prerequisites
from pipelines.dvc import cut_short, graph
from pipelines.own import outputs
from pipelines.running import surroundings
from stages.readiness import lacks, precision
from stages.reporting import revision
from stages.runtime import command, config, workers
from stages.runtime.errors import UserError
from stages.runtime.params import Params
from stages.training import models

SHOWN = ("torch", "opencv-python", "av", "dvc", "prefect", "fastapi", "pandas", "pyarrow", "numpy", "pydantic")
DLIB = ("dlib-bin", "dlib")  # prebuilt, built from source: both install the module `dlib`
CUTTING = ("crop", "track", "detect", "index")  # stages of which each data set has one


@dataclass(frozen=True)
class Finding:
    topic: str
    value: str
    problem: str = ""  # what to do about it; empty if all is well


def examine(root: Path) -> Iterator[Finding]:
    """Every finding about the project in `root`, in the order in which they are shown."""
    yield Finding("python", sys.version.split()[0], "; ".join(prerequisites.missing(root)))
    yield from packages(root / "constraints.txt")
    yield user()
    yield device()
    yield processes()
    yield disk(root)
    yield from dvc(root)
    yield git(root)
    yield from needs(root)


def packages(constraints: Path) -> Iterator[Finding]:
    """The versions that matter most, and every installed package that departs from its pin."""
    pins = [pin for pin in map(Requirement, _lines(constraints)) if pin.marker is None or pin.marker.evaluate()]
    dlib = [name for name in DLIB if _version(name)] or ["dlib" if prerequisites.builds_dlib() else "dlib-bin"]
    shown = {name: _version(name) for name in (*SHOWN, *dlib)}
    wrong = [f"{name} is not installed" for name, version in shown.items() if not version]
    for pin in pins:
        if (version := _version(pin.name)) and not pin.specifier.contains(version):
            wrong.append(f"{pin.name} {version} is not the pinned one")
    if len(dlib) > 1:
        wrong.append(f"{' and '.join(dlib)} are both installed")
    problem = f"{'; '.join(wrong)}: remove .venv/.installed and run any make command" if wrong else ""
    yield Finding("packages", ", ".join(f"{name} {version or 'missing'}" for name, version in shown.items()), problem)


def user() -> Finding:
    """The name of the user; a container may know the uid alone."""
    if problem := surroundings.nameless():
        return Finding("user", f"uid {os.getuid()}", problem)
    return Finding("user", getpass.getuser())


def device() -> Finding:
    """What `device: auto` comes out as."""
    workers.keep_threads()
    chosen = models.device("auto")
    name = torch.cuda.get_device_name() if chosen.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return Finding("device", f"{chosen.type}, {name}")


def processes() -> Finding:
    """Where `crop`, `track`, `detect`, `index` and `embed` run their units."""
    if cluster := workers.cluster_name():
        return Finding("workers", f"the Dask cluster {cluster}")
    if problem := workers.alone():
        return Finding("workers", "1 process here", problem)
    return Finding("workers", f"{workers.available()} processes here")


def disk(root: Path) -> Finding:
    """Room for data, DVC's cache and unfinished work, which all lie below `root` by default."""
    return Finding("free disk", f"{shutil.disk_usage(root).free / 1e9:.1f} GB")


def dvc(root: Path) -> Iterator[Finding]:
    """Cache link type and remote; a copying cache stores every shard twice."""
    try:
        settings = graph.settings(root)
    except UserError as error:
        yield Finding("dvc", "not usable", str(error))
        return
    try:
        cut_short.check(root)
    except UserError as error:
        yield Finding("dvc files", "damaged", str(error))
    links = ", ".join(settings["cache"].get("type", ["reflink", "copy"]))
    fix = (
        "" if "hardlink" in links else "every output lies on disk twice: `dvc config cache.type hardlink,symlink,copy`"
    )
    yield Finding("dvc cache", links, fix)
    remotes = [f"{name} ({remote['url']})" for name, remote in settings["remote"].items()]
    yield Finding("dvc remote", ", ".join(remotes) or "none: results stay on this machine; `make remote` shares them")


def git(root: Path) -> Finding:
    """Branch, revision and uncommitted changes; `machine.html` names the revision."""
    if not (root / ".git").exists():
        return Finding("git", "no repository: `fabnet history` has no revisions and machine.html names no commit")
    try:
        changes = len(revision.git(root, "status", "--porcelain").splitlines())
        branch = revision.git(root, "branch", "--show-current") or "detached"
    except revision.GitError as error:
        return Finding("git", "no revision", str(error))
    state = outputs.counted(changes, "uncommitted change") if changes else "clean"
    return Finding("git", f"{branch} at {_short(root)}, {state}")


def needs(root: Path) -> Iterator[Finding]:
    """The chosen profile, and all that its run needs and lacks or that is slow here, as the stage `check` finds it."""
    try:
        params = config.check(root / "params.yaml")
        stages = graph.ordered(root)
    except UserError as error:
        yield Finding("parameters", "wrong", str(error))
        return
    yield Finding("parameters", f"profile {params.profile}, configuration {config.digest(params)}")
    for lack in lacks.find(params, root, _folders(root, params, stages), os.environ):
        yield Finding(lack.topic, "not ready", lack.sentence)
    if sentence := precision.slow(params.pretrain):
        yield Finding("pretrain", "slow", sentence)


def _folders(root: Path, params: Params, stages: Iterable[graph.Stage]) -> lacks.Folders:
    """Where the graph has the outputs of each data set."""
    first = {stage.name: stage.outs[0] for stage in stages}
    cut = {name.partition("@")[2]: out for name, out in first.items() if name.partition("@")[0] in CUTTING}
    raw = {name: first[f"fetch@{name}"].parent for name in params.datasets}
    return lacks.Folders(raw=raw, cut=cut, journal=root / ".journal")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _short(root: Path) -> str:
    try:
        return revision.git(root, "rev-parse", "--verify", "--short", "HEAD")
    except revision.GitError:
        return "no commit yet"


def main() -> int:
    """Print all findings; exit status 1 if one of them is a problem.

    Raises:
        UserError: this is not the folder of the project.
    """
    if missing := [name for name in ("params.yaml", "constraints.txt") if not Path(name).exists()]:
        raise UserError(f"{missing[0]} is not here: run this in the folder of the project")
    findings = list(examine(Path()))
    for finding in findings:
        print(f"{finding.topic:<11} {finding.value}")
        if finding.problem:
            print(f"{'':<11} wrong: {finding.problem}")
    problems = sum(bool(finding.problem) for finding in findings)
    print(outputs.counted(problems, "problem") if problems else "nothing is wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m pipelines.doctor", description=__doc__).parse_args()
    sys.exit(command.guarded(main))
