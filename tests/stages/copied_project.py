"""A copy of the project's code and graph in a repository of its own, with parameters of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines import profile

ROOT = Path(__file__).parents[2]
PYTHON_FIRST = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
NEEDED = ("stages/", "fabnet/", "data/registry/", ".dvc", "dvc.yaml", ".gitignore")
BRIEF = {"size_px": 32, "batch": 8, "epochs": 2, "checkpoint_epochs": 1, "draws_per_identity": 4, "val_samples": 8}
SAME = "..."  # in a list of changes: what the list holds already


def run(project: Path, *command: str) -> str:
    """Standard output of a command in the project; what it said is shown if it fails."""
    done = subprocess.run(command, cwd=project, env=PYTHON_FIRST, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def parameters(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load(profile.text(name, ROOT / "profiles"))


def merged(values: Any, changes: Any) -> Any:
    """`values` with `changes` in it: maps key by key, lists as they are or, with SAME in front, longer."""
    if isinstance(values, dict) and isinstance(changes, dict):
        return {**values, **{key: merged(values.get(key), change) for key, change in changes.items()}}
    if isinstance(changes, list) and changes[:1] == [SAME]:
        return [*values, *changes[1:]]
    return changes


def copy(folder: Path, params: dict[str, Any], more: tuple[str, ...] = ()) -> Path:
    """The repository; `more` are further files and folders that it needs."""
    for name in run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if name.startswith((*NEEDED, *more)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(params, file)
    run(folder, "git", "init", "--quiet")
    return folder


def check(folder: Path) -> str:
    """What the check of the parameters says; the lists that follow from them are brought up to date first."""
    return run(folder, "python", "-m", "pipelines.profile", "check")
