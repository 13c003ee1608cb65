"""DVC killed alone while a stage runs or while it stores what the stage has made: no orphan, and the same bytes."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import kills
import numpy as np
import psutil
import pytest
import track_samples
from ruamel.yaml import YAML

from pipelines.dvc import rwlock
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
PATHS = "--tracks tracks --splits splits --out models/fabnet-0"
GRAPH = {
    "stages": {"pretrain": {"cmd": f"python -m stages.pretrain fabnet 0 {PATHS}", "outs": ["models/fabnet-0"]}}
}  # fmt: skip
TRIES = 30


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of DVC with one training, which takes some seconds."""
    for dataset in ("voxceleb1", "voxceleb2"):
        track_samples.write_tracks(tmp_path, dataset)
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    sides = {name: list(sides) for name, sides in track_samples.PARAMS["jitter_px"].items()}
    params["pretrain"] = {**track_samples.PARAMS, "jitter_px": sides, "epochs": 12, "checkpoint_epochs": 1}
    params["method"]["fabnet"] = track_samples.METHOD_PARAMS
    for name, content in (("params.yaml", params), ("dvc.yaml", GRAPH)):
        with (tmp_path / name).open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(content, file)
    dvc(tmp_path, "init", "--quiet", "--no-scm").communicate()
    for name in (".dvc/config", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    dvc(tmp_path, "config", "core.no_scm", "true").communicate()
    return tmp_path


def dvc(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def made(folder: Path) -> dict[str, bytes]:
    process = dvc(folder, "repro")
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return kills.files(folder / "models" / "fabnet-0")


def nobody_works_in(folder: Path) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(_works_in(process, folder) for process in psutil.process_iter()):
            return True
        time.sleep(0.1)
    return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(folder)
    except psutil.Error:
        return False


@pytest.mark.torture
@pytest.mark.timeout(0)
def test_dvc_that_is_killed_alone_leaves_no_orphan_and_the_next_run_makes_the_same_bytes(repository):
    start = time.monotonic()
    whole = made(repository)
    whole_s = time.monotonic() - start
    for after_s in np.random.default_rng(2018).uniform(0, whole_s, TRIES):
        for name in ("dvc.lock", "models", ".journal", ".dvc/cache", ".dvc/tmp"):
            path = repository / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        process = dvc(repository, "repro")
        time.sleep(after_s)
        process.kill()
        process.communicate()
        assert nobody_works_in(repository), f"killed after {after_s:.1f} s"
        try:
            rwlock.check(repository)
        except UserError:  # doctor and both front doors say so
            (repository / rwlock.FILE).unlink()
        assert made(repository) == whole, f"killed after {after_s:.1f} s"
