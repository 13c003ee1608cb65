"""The whole graph on a tiny sample release, in a repository of its own: real DVC, real files, every stage."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages import tables

ROOT = Path(__file__).parents[1]
PYTHON_FIRST = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

TINY: dict[str, Any] = {
    "split": {"track_val": 0.3, "track_test": 0.2},
    "pretrain": {
        "size_px": 32,
        "batch": 8,
        "epochs": 2,
        "checkpoint_epochs": 1,
        "draws_per_identity": 4,
        "val_samples": 8,
    },
    "refine": {"epochs": 1},
    "method": {"fabnet_curriculum": {"batch": 8}},
    "probe": {"l2": [0.01, 1.0], "max_iter": 20, "bootstrap": 50},
    "dataset": {
        "affectnet": {"sample": {"training": 90, "validation": 32}},
        "aflw": {"sample": {"pictures": 40}},
        "emotionet": {"sample": {"automatic": 60, "manual": 30}},
        "mafl": {"sample": {"training": 50, "testing": 16}},
        "voxceleb1": {"sample": {"identities": 8, "tracks_per_identity": 2, "seconds": 1.0}},
        "voxceleb2": {"sample": {"identities": 6, "tracks_per_identity": 1, "seconds": 1.0}},
        "w300": {"sample": {"training": 50, "common": 12, "challenging": 6}},
    },
}

# A method of its own: one file, found by its name.
TOY = '''"""The mean colour of a picture, through a layer that learns to leave it as it is."""

from dataclasses import dataclass

from torch import Tensor, nn

from fabnet.method import Method


@dataclass(frozen=True)
class Params:
    embedding: int


class Toy(Method):
    frames = 1

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, params.embedding, 1))

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        colour = frames[:, 0].mean(dim=(2, 3))
        return {"loss": (self.encoder(frames[:, 0]).flatten(1)[:, :3] - colour).abs().mean()}


def build(params: Params, *, size_px: int) -> Method:
    return Toy(params)
'''

STUDY = YAML(typ="safe").load((ROOT / "profiles" / "study.yaml").read_text(encoding="utf-8"))
METHODS = [*STUDY["methods"], "toy"]

TASKS = {
    ("affectnet", "expression"),
    ("affectnet", "retrieval"),
    ("aflw", "pose"),
    ("aflw", "pose_retrieval"),
    ("emotionet", "action_units"),
    ("mafl", "landmarks"),
    ("voxceleb1", "identity"),  # the identities of voxceleb2 have one track each
    ("w300", "landmarks"),
}


def run(project: Path, *command: str) -> str:
    """Standard output of a command in the project; what it said is shown if it fails."""
    done = subprocess.run(command, cwd=project, env=PYTHON_FIRST, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def merged(values: Any, changes: dict[str, Any]) -> Any:
    return {
        key: merged(value, changes[key]) if isinstance(changes.get(key), dict) else changes.get(key, value)
        for key, value in values.items()
    }


def project(folder: Path) -> Path:
    """A repository with the project's own code and graph, and a tiny sample."""
    for name in run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        source = ROOT / name
        if name.startswith(("stages/", "fabnet/", "data/registry/", ".dvc")) or name in ("dvc.yaml", ".gitignore"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    (folder / "fabnet" / "pretext" / "toy.py").write_text(TOY, encoding="utf-8")
    params = merged(STUDY, TINY)
    params |= {name: [*params[name], "toy"] for name in ("methods", "pretrained")}
    params["method"] = {**params["method"], "toy": {"embedding": 8}}
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)
    run(folder, "git", "init", "--quiet")
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("first"))
    run(folder, "dvc", "repro")
    return folder


@pytest.mark.slow
def test_one_command_leads_from_raw_releases_to_the_report(first: Path):
    reports = first / "data" / "reports"
    rows = tables.read(reports / "metrics.parquet", tables.METRICS).to_pylist()
    assert {(row["method"], row["dataset"], row["task"]) for row in rows} == {
        (method, dataset, task) for method in METHODS for dataset, task in TASKS
    }
    assert all(row["n"] > 0 and row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    curves = {
        method: tables.read(first / "data" / "metrics" / f"{method}-0" / "curves.parquet", tables.CURVES).to_pylist()
        for method in METHODS
    }
    assert {(row["dataset"], row["task"]) for row in curves["fabnet"]} == {
        ("aflw", "pose"), ("aflw", "pose_retrieval"), ("w300", "landmarks"),
    }  # fmt: skip
    assert len({row["step"] for row in curves["fabnet"]}) == 2
    assert {row["step"] for row in curves["random"]} == {0}
    assert "<html" in (reports / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_method_of_one_new_file_is_in_the_graph_and_in_the_report(first: Path):
    assert {"pretrain@toy-0", "embed@toy-0", "probe@toy-0"} <= set(
        run(first, "dvc", "stage", "list", "--name-only").split()
    )
    assert '<th scope="row">toy</th>' in (first / "data" / "reports" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_second_run_finds_nothing_to_do(first: Path):
    assert "Data and pipelines are up to date." in run(first, "dvc", "repro")


@pytest.mark.slow
def test_what_the_sample_breaks_on_purpose_is_rejected_with_a_reason(first: Path):
    rejects = tables.read(first / "data" / "faces" / "affectnet" / "rejects.parquet", tables.REJECTS)
    reasons = {reason.split(":")[0] for reason in rejects["reason"].to_pylist()}
    assert {"labelled none", "labelled non-face", "labelled uncertain", "picture is cut short"} <= reasons


@pytest.mark.slow
def test_two_clean_runs_give_the_same_bytes(first: Path, tmp_path: Path):
    second = project(tmp_path)
    run(second, "dvc", "repro")
    for name in (
        "data/reports/metrics.parquet",
        "data/reports/metrics.json",
        "data/models/fabnet-0/encoder.safetensors",
    ):
        digests = {hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in (first, second)}
        assert len(digests) == 1, name
