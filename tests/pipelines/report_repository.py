"""Repositories with a metric table made from a text file: a report without the work."""

import subprocess
from pathlib import Path

import tiny_repository
import warm_python
from ruamel.yaml import YAML

from stages.runtime import tables

REPORT = Path("data/reports/metrics.parquet")

DVC_YAML = """
stages:
  report:
    cmd: python -c 'import report_repository as made; made.write_report(made.Path())'
    deps: [scores.txt]
    params: [shift]
    outs: [data/reports/metrics.parquet]
"""

# Each line: method, metric, value, half of the interval, images.
FIRST = "fabnet auc 0.8 0.02 400\nrandom auc 0.6 0.02 400\n"
SECOND = "fabnet auc 0.9 0.02 400\nrandom auc 0.61 0.02 400\nvicreg auc 0.7 0.02 400\n"


def write_report(root: Path) -> None:
    """The table of `scores.txt`, every value moved by the parameter `shift`."""
    shift = YAML(typ="safe").load(root / "params.yaml")["shift"]
    rows = []
    for line in (root / "scores.txt").read_text(encoding="utf-8").splitlines():
        method, metric, value, half, n = line.split()
        value, half = float(value) + shift, float(half)
        estimate = {"better": "higher", "value": value, "ci_low": value - half, "ci_high": value + half, "n": int(n)}
        of = {"profile": "sample", "dataset": "w300", "task": "landmarks", "method": method, "metric": metric}
        for seed, target in ((None, "mean"), (0, "mean"), (None, "nose")):
            where = {"seed": seed, "target": target, "split": "test"}
            rows.append(of | estimate | where | {"config_hash": f"c{shift}", "code_hash": "abc"})
    (root / REPORT).parent.mkdir(parents=True, exist_ok=True)
    tables.write(root / REPORT, tables.METRICS, rows, key=["method", "metric", "seed", "target"])


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def dvc(root: Path, *arguments: str) -> None:
    """A DVC command, with our Python as the `python` of the stage."""
    modules = (Path(module.__file__).parent for module in (tiny_repository, warm_python))
    env = tiny_repository.environment(*modules)
    subprocess.run(["dvc", *arguments], cwd=root, env=env, capture_output=True, check=True)


def make_in_git(root: Path) -> None:
    """Tags `first`, `shifted` and `second`, whose report git holds, in the empty folder `root`."""
    _start(root)
    for name, scores, shift in (("first", FIRST, 0.0), ("shifted", SECOND, 0.05), ("second", SECOND, 0.0)):
        (root / "scores.txt").write_text(scores, encoding="utf-8")
        (root / "params.yaml").write_text(f"shift: {shift}\n", encoding="utf-8")
        write_report(root)
        _commit(root, name)


def make_in_dvc(root: Path) -> None:
    """Tags `empty` (nothing has run) and `first`, whose report DVC's cache holds, and an experiment `shifted`."""
    _start(root)
    (root / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (root / ".gitignore").write_text("/data\n", encoding="utf-8")
    _commit(root, "empty")
    dvc(root, "repro", "--quiet")
    _commit(root, "first")
    dvc(root, "exp", "run", "--name", "shifted", "--set-param", "shift=0.05")


def _start(root: Path) -> None:
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "test")
    git(root, "config", "user.email", "test@localhost")
    tiny_repository.dvc(root, "init", "--quiet")
    (root / "params.yaml").write_text("shift: 0.0\n", encoding="utf-8")
    (root / "scores.txt").write_text(FIRST, encoding="utf-8")


def _commit(root: Path, name: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", name)
    git(root, "tag", name)
