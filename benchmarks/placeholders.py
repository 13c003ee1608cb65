"""The project in a repository of its own, up to date for DVC, with a few bytes in place of every output.

There are as many files as the run of a profile leaves: once their digests are known, DVC's work depends on how many
there are, not on their size.
"""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import indexes
from pipelines import profile
from pipelines.dvc import graph
from stages.runtime import config
from stages.runtime.params import Params

ROOT = Path(__file__).parents[1]
NEEDED = ("stages/", "fabnet/", "pipelines/", ".dvc", "dvc.yaml", ".gitignore", "profiles/")
STORED_BYTES = {
    **{name: indexes.FRAMES * release.tracks / indexes.TRACKS * 13_000 for name, release in indexes.RELEASES.items()},
    **{name: 21_000 * images for name, images in indexes.IMAGES.items()},
}  # bytes of a whole data set
FILES = {"models": 12, "embeddings": 24}  # in the folder of one method; checkpoints are the most
TABLES = 3  # beside the shards of a data set
OTHERS = 4  # in any other folder


def make(folder: Path, name: str) -> tuple[int, int]:
    """Numbers of stages and of files of outputs, once the repository stands in `folder`."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for path in (path for path in listed if path.startswith(NEEDED) and (ROOT / path).is_file()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    text = profile.text(name, ROOT / "profiles")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    shards = shards_of_whole(config.parsed(text, name)) if name == "paper" else {}
    run(folder, "git", "init", "--quiet")
    stages = graph.ordered(folder)
    outs = sorted({out for stage in stages for out in stage.outs})
    files = sum(_fill(out, out.relative_to(folder.resolve()), shards) for out in outs)
    run(folder, sys.executable, "-m", "dvc", "commit", "--force", "--quiet")
    return len(stages), files


def shards_of_whole(params: Params) -> dict[str, int]:
    """How many shards each whole data set has, one for each unit."""
    detect, index = params.detect.images_per_unit, params.index.images_per_unit
    amounts = {name: (release.tracks, params.crop.tracks_per_unit) for name, release in indexes.RELEASES.items()}
    amounts |= {name: (count, detect if name in indexes.DETECTED else index) for name, count in indexes.IMAGES.items()}
    return {name: math.ceil(count / per_unit) for name, (count, per_unit) in amounts.items()}


def _fill(out: Path, place: Path, shards: Mapping[str, int]) -> int:
    """Number of files that were written for one output; each has other bytes."""
    paths = [out] if out.suffix else [out / f"{number:05d}.tar" for number in range(_count(place, shards))]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{place}/{path.name}", encoding="utf-8")
    return len(paths)


def _count(place: Path, shards: Mapping[str, int]) -> int:
    kind, name = place.parts[1], place.parts[-1]
    if kind in ("tracks", "faces") and name in STORED_BYTES:
        return TABLES + shards.get(name, 1)
    return FILES.get(kind, OTHERS)


def run(folder: Path, *command: str) -> str:
    """What the command printed.

    Raises:
        RuntimeError: it failed.
    """
    paths = {"PYTHONPATH": str(folder), "DVC_SITE_CACHE_DIR": str(folder / ".site")}
    done = subprocess.run(command, cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def repro(folder: Path) -> float:
    """Seconds of a processor of a `dvc repro` that runs nothing."""
    return _seconds(folder, r"up to date", "dvc", "repro")


def flow(folder: Path) -> float:
    """Seconds of a processor of what `make flow` starts when everything is up to date."""
    spent = _seconds(folder, "", "pipelines.profile", "check")
    return spent + _seconds(folder, "all are up to date", "pipelines.reproduce")


def _seconds(folder: Path, expected: str, *module: str) -> float:
    before = os.times()
    printed = run(folder, sys.executable, "-m", *module)
    after = os.times()
    if not re.search(expected, printed):
        raise RuntimeError(f"{' '.join(module)} should have found nothing to run, it printed: {printed[-500:]}")
    return after.children_user + after.children_system - before.children_user - before.children_system
