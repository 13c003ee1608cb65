"""The whole graph on tiny releases, in a repository of its own: an instance or two of every stage, in a few minutes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import copied_project
import kills
import psutil
from ruamel.yaml import YAML
from video_samples import clip, shot

DOORS = {"dvc repro": ["-m", "dvc", "repro"], "a flow": ["-m", "pipelines.reproduce"]}
NEEDED = ("pipelines/", "profiles/", "prefect.toml", ".dvcignore")
TINY: dict[str, Any] = {
    "methods": ["fabnet", "fabnet_sources"],
    "datasets": ["affectnet", "own_videos", "voxceleb1", "w300"],
    "split": {"track_val": 0.3, "track_test": 0.2},
    "measure": {"crops": 2},
    "pretrain": copied_project.QUICK["pretrain"],
    "refine": {"epochs": 1},
    "perturb": {"images": 4, "scales": [0.8, 1.0], "shifts": [0.1]},
    "probe": {"l2": [0.01, 1.0], "max_iter": 20, "bootstrap": 20},
    "dataset": {
        "affectnet": {"synthetic": {"training": 60, "validation": 24}},
        "voxceleb1": {"synthetic": {"identities": 8, "tracks_per_identity": 2, "seconds": 1.0}},
        "w300": {"synthetic": {"training": 30, "common": 8, "challenging": 6}},
    },
}
# What a page says of the machine and of the time that a run took is not the same twice.
OTHER_BYTES = {"data/reports/report.html", "data/reports/machine.html"}


def make(folder: Path) -> Path:
    """The repository; nothing has run in it yet."""
    params = copied_project.merged(copied_project.parameters("sample"), TINY)
    copied_project.copy(folder, params, NEEDED)
    for number, side in enumerate((130, 140, 150)):
        clip(folder / "data" / "releases" / "own_videos" / str(number) / "1.mp4", shot(8, (100, 120, side)))
    copied_project.check(folder)
    return folder


def start(folder: Path, door: str, said: Path) -> psutil.Popen:
    """Bring the repository up to date through a front door, in a process group of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with said.open("w", encoding="utf-8") as output:
        return psutil.Popen(
            [sys.executable, *DOORS[door]],
            cwd=folder, env={**inherited, "PATH": path, "PYTHONPATH": str(folder)}, process_group=0,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip


def made(folder: Path) -> dict[str, bytes]:
    """Content of every file that the stages make, by name."""
    of = {path for path in (folder / "data").rglob("*") if path.is_file() and "releases" not in path.parts}
    names = {path: path.relative_to(folder).as_posix() for path in of}
    return {names[path]: path.read_bytes() for path in sorted(of) if names[path] not in OTHER_BYTES}


def locked(folder: Path) -> dict[str, Any]:
    """The stages of dvc.lock, but for the digest of what does not have the same bytes twice."""
    with (folder / "dvc.lock").open(encoding="utf-8") as file:
        stages = YAML(typ="safe").load(file)["stages"]
    for stage in stages.values():
        stage["outs"] = [out for out in stage["outs"] if out["path"] not in OTHER_BYTES]
    return stages


def outs(folder: Path, of: Iterable[str] = ()) -> dict[str, dict[str, bytes]]:
    """Content of the outputs `of` DVC's stages that are there; none named: of all in dvc.lock."""
    places = list(of) or [out["path"] for stage in locked(folder).values() for out in stage["outs"]]
    return {out: kills.files(folder / out) for out in places if (folder / out).exists()}


def whole_run(folder: Path, said: Path) -> float:
    """Seconds that `dvc repro` takes, to its end."""
    start_s = time.monotonic()
    status = start(folder, "dvc repro", said).wait()
    assert status == 0, said.read_text(encoding="utf-8")[-4000:]
    return time.monotonic() - start_s


def workers(folder: Path) -> list[psutil.Process]:
    """All processes that work in the folder."""
    return [process for process in psutil.process_iter() if _works_in(process, folder)]


def stages(folder: Path) -> list[psutil.Process]:
    """The processes of running stages, and those that they have started."""
    return [process for process in workers(folder) if {"-m", "--multiprocessing-fork"} & set(_arguments(process))]


def is_stage(process: psutil.Process) -> bool:
    return any(argument.startswith("stages.") for argument in _arguments(process))


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` became true in time."""
    deadline = time.monotonic() + seconds
    while not (is_true := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_true


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(folder)
    except psutil.Error:
        return False


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
