"""A git and DVC repository whose only stage makes a metric table out of a text file: a report without the work."""

import subprocess
import sys
from pathlib import Path

import tiny_repository

REPORT = Path("data/reports/metrics.parquet")

DVC_YAML = """
stages:
  report:
    cmd: python table.py
    deps: [scores.txt, table.py]
    params: [shift]
    outs: [data/reports/metrics.parquet]
"""

# Each line of scores.txt: method, metric, value, half of the interval, images.
TABLE = """
from pathlib import Path

from ruamel.yaml import YAML

from stages.runtime import tables

shift = YAML(typ="safe").load(Path("params.yaml"))["shift"]
rows = []
for line in Path("scores.txt").read_text().splitlines():
    method, metric, value, half, n = line.split()
    value, half = float(value) + shift, float(half)
    estimate = {"value": value, "ci_low": value - half, "ci_high": value + half, "n": int(n), "published": None}
    of = {"profile": "sample", "dataset": "w300", "task": "landmarks", "method": method, "metric": metric, **estimate}
    for seed, target in ((None, "mean"), (0, "mean"), (None, "nose")):
        where = {"seed": seed, "target": target, "split": "test"}
        rows.append(of | where | {"config_hash": f"c{shift}", "code_hash": "abc"})
tables.write(Path("data/reports/metrics.parquet"), tables.METRICS, rows, key=["method", "metric", "seed", "target"])
"""

FIRST = "fabnet auc 0.8 0.02 400\nrandom auc 0.6 0.02 400\n"
SECOND = "fabnet auc 0.9 0.02 400\nrandom auc 0.61 0.02 400\nvicreg auc 0.7 0.02 400\n"


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def make(root: Path) -> None:
    """Tags `empty` (nothing has run), `first` and `second` in the empty folder `root`."""
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "test")
    git(root, "config", "user.email", "test@localhost")
    tiny_repository.dvc(root, "init", "--quiet")
    texts = {"dvc.yaml": DVC_YAML, "table.py": TABLE, ".gitignore": "/data\n", "params.yaml": "shift: 0.0\n"}
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    commit(root, "empty")
    for name, scores in (("first", FIRST), ("second", SECOND)):
        (root / "scores.txt").write_text(scores, encoding="utf-8")
        reproduce(root)
        commit(root, name)


def commit(root: Path, name: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", name)
    git(root, "tag", name)


def reproduce(root: Path, *arguments: str) -> str:
    """`dvc repro`, or another command that runs the stage, with our Python as its `python`."""
    command = [sys.executable, "-m", "dvc", *(arguments or ("repro", "--quiet"))]
    env = tiny_repository.environment()
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True).stdout
