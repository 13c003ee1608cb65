"""A copy of the project's code and graph in a repository of its own, with parameters of its own."""

import shutil
from pathlib import Path
from typing import Any

import warm_python
from ruamel.yaml import YAML

from pipelines import profile

ROOT = Path(__file__).parents[2]
NEEDED = ("stages/", "fabnet/", ".dvc", "dvc.yaml", ".gitignore")
QUICK = {  # sections of parameters with which a stage takes a second
    "split": {"track_val": 0.3, "track_test": 0.2},
    "measure": {"crops": 4},
    "pretrain": {
        "size_px": 32, "batch": 8, "epochs": 2, "checkpoint_epochs": 1, "draws_per_identity": 4, "val_samples": 8,
    },
    "probe": {"l2": [0.01, 1.0], "max_iter": 20, "bootstrap": 50, "few_shot": {"shots": [5], "draws": 2}},
    "perturb": {"scales": [0.8, 1.0], "shifts": [0.1], "images": 8},
    "illustrate": {"rows": 2, "neighbours": 2},
}  # fmt: skip
SAME = "..."  # in a list of changes: what the list holds already


def run(project: Path, *command: str, first: Path | None = None) -> str:
    """Standard output of a command in the project; what it said is shown if it fails.

    `first`: a folder of `warm_python.started` other than the common one.
    """
    done = warm_python.run(*command, cwd=project, first=first)
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
    write(folder, params)
    run(folder, "git", "init", "--quiet")
    return folder


def check(folder: Path) -> str:
    """What the check of the parameters says; the lists that follow from them are brought up to date first."""
    return run(folder, "python", "-m", "pipelines.profile", "check")


def write(folder: Path, params: dict[str, Any]) -> None:
    """Make `params` the parameters of the repository."""
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(params, file)
