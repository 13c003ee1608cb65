"""A DVC repository of six shell commands with the project's settings of DVC and Prefect, and DVC's command line."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import warm_python
from waiting import SLEEP

ROOT = Path(__file__).parents[2]

# Two independent branches that meet: fetch@x -> fragile -> tail, fetch@y -> solid, and report over all that is solid.
# `fragile` reads a switch: `break` makes it fail, `sleep` makes it hang together with a child.
DVC_YAML = """
stages:
  fetch:
    matrix: {name: [x, y]}
    cmd: mkdir -p raw && echo ${item.name} > raw/${item.name}
    outs:
      - raw/${item.name}
  fragile:
    cmd: sh fragile.sh
    deps: [fragile.sh, switch, raw/x]
    outs: [fragile.txt]
  tail:
    cmd: cp fragile.txt tail.txt
    deps: [fragile.txt]
    outs: [tail.txt]
  solid:
    cmd: sh solid.sh
    deps: [solid.sh, raw/y]
    outs: [solid.txt]
  report:
    cmd: cp solid.txt report.html && mkdir -p metrics && cp scores/* metrics && cp drawn.png summary.png
    deps: [solid.txt, scores, drawn.png]
    outs: [report.html]
    plots: [summary.png]
    metrics:
      - metrics: {cache: false}
"""

FRAGILE = f"""
case $(cat switch) in
  break) echo "error: the release should hold 3 parts, found 2: copy the missing one" >&2; exit 1;;
  sleep) sleep {SLEEP} & sleep {SLEEP};;
esac
cp raw/x fragile.txt
"""


# Headline of every data set and task, as the stage `report` writes it: a file per method.
SCORES = {
    "fabnet": {"mafl": {"landmarks": 3.5}, "w300": {"landmarks": 5.5}},
    "random": {"mafl": {"landmarks": 8.25}, "w300": {"landmarks": 9.0}},
}

# Prints the progress of a stage that is not done, as stages/runtime/progress.py does.
SOLID = """
echo "solid: 1/4 steps (25 %), 1.0 steps/s, 0:03 left"
cp raw/y solid.txt
"""


def environment(*folders: Path) -> dict[str, str]:
    """Ours, with this Python as the `python` of stages that import the project or modules in `folders`."""
    paths = {"PATH": warm_python.path(), "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))}
    return {**os.environ, **paths}


def dvc(root: Path, *arguments: str) -> str:
    done = warm_python.run("dvc", *arguments, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(root: Path) -> None:
    """Fill the empty folder `root`; nothing has run in it yet."""
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    dvc(root, "init", "--quiet")
    for name in (".dvc/config", "prefect.toml"):
        shutil.copy(ROOT / name, root / name)
    cv2.imwrite(str(root / "drawn.png"), np.full((40, 60, 3), 200, np.uint8))
    scores = {f"scores/{method}.json": json.dumps(values) for method, values in SCORES.items()}
    scripts = {"fragile.sh": FRAGILE, "solid.sh": SOLID}
    (root / "scores").mkdir()
    for name, text in {"dvc.yaml": DVC_YAML, "switch": "work", **scores, **scripts}.items():
        (root / name).write_text(text, encoding="utf-8")
