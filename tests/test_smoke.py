"""The whole graph on tiny synthetic releases, in a repository of its own: real DVC, real files, every stage."""

import json
from pathlib import Path
from typing import Any

import copied_project
import pytest
import warm_python
from copied_project import run
from golden import Near, misses
from ruamel.yaml import YAML

from stages.runtime import tables

# One method of each kind: trained, with a curriculum, refined, with a projector, solved, and not trained at all. The
# contract tests train every other one.
METHODS = ["fabnet", "fabnet_curriculum", "fabnet_sources", "vicreg", "pca", "random"]

TINY: dict[str, Any] = {
    **copied_project.QUICK,
    "methods": METHODS,
    "refine": {"epochs": 1},
    "method": {"fabnet_curriculum": {"batch": 8}},
    "dataset": {
        "affectnet": {"synthetic": {"training": 90, "validation": 32}},
        "aflw": {"synthetic": {"images": 40}},
        "emotionet": {"synthetic": {"automatic": 60, "manual": 30}},
        "mafl": {"synthetic": {"training": 50, "testing": 16}},
        "voxceleb1": {"synthetic": {"identities": 8, "tracks_per_identity": 2, "seconds": 1.0}},
        "voxceleb2": {"synthetic": {"identities": 6, "tracks_per_identity": 1, "seconds": 1.0}},
        "w300": {"synthetic": {"training": 50, "common": 12, "challenging": 6}},
    },
}

TASKS = {
    ("affectnet", "expression"),
    ("affectnet", "retrieval"),
    ("aflw", "pose"),
    ("aflw", "pose_retrieval"),
    ("emotionet", "action_units"),
    ("mafl", "landmarks"),
    ("voxceleb1", "identity_leakage"),  # the identities of voxceleb2 have one track each
    ("w300", "landmarks"),
}


def project(folder: Path) -> Path:
    """A repository with the project's own code and graph, and tiny synthetic releases."""
    copied_project.copy(folder, copied_project.merged(copied_project.parameters("study"), TINY))
    copied_project.check(folder)
    return folder


def outputs(project: Path) -> dict[str, str]:
    """Digest of every file and folder that DVC's stages wrote, by path."""
    lock = YAML(typ="safe").load((project / "dvc.lock").read_text(encoding="utf-8"))
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


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
        method: tables.read(
            first / "data" / "metrics" / f"{method}-0" / "learning_curves.parquet", tables.LEARNING_CURVES
        ).to_pylist()
        for method in METHODS
    }
    assert {(row["dataset"], row["task"]) for row in curves["fabnet"]} == {
        task for task in TASKS if task[1] != "identity_leakage"
    }
    assert len({row["step"] for row in curves["fabnet"]}) == 2
    assert {row["step"] for row in curves["random"]} == {0}
    assert "<html" in (reports / "report.html").read_text(encoding="utf-8")


# data set and task -> untrained, principal components, and by how much a value may be off. Neither is trained step by
# step, so that only rounding differs elsewhere; shares of these few images may be off by two images.
KNOWN = {
    ("affectnet", "expression"): (0.446429, 0.426339, 0.02),
    ("affectnet", "retrieval"): (0.100000, 0.087500, 0.0625),
    ("aflw", "pose"): (9.366348, 11.718193, 0.2),
    ("aflw", "pose_retrieval"): (0.425000, 0.375000, 0.125),
    ("emotionet", "action_units"): (0.330976, 0.293959, 0.07),
    ("mafl", "landmarks"): (37.314665, 33.400406, 0.8),
    ("voxceleb1", "identity_leakage"): (1.0, 1.0, 0.25),
    ("w300", "landmarks"): (15.482495, 19.015139, 0.4),
}


@pytest.mark.slow
@pytest.mark.parametrize(("column", "method"), [(0, "random"), (1, "pca")])
def test_encoders_without_training_steps_have_the_scores_that_are_known(first: Path, column: int, method: str):
    found = json.loads((first / "data" / "reports" / "metrics" / f"{method}.json").read_text(encoding="utf-8"))
    assert misses({key: Near(values[column], values[2]) for key, values in KNOWN.items()}, found) == []


@pytest.mark.slow
def test_a_second_run_finds_nothing_to_do(first: Path):
    assert "Data and pipelines are up to date." in run(first, "dvc", "repro")


@pytest.mark.slow
def test_what_the_synthetic_release_breaks_on_purpose_is_rejected_with_a_reason(first: Path):
    rejects = tables.read(first / "data" / "faces" / "affectnet" / "rejects.parquet", tables.REJECTS)
    kinds = set(rejects["kind"].to_pylist())
    assert {"labelled none", "labelled non-face", "labelled uncertain", "image is cut short"} <= kinds


@pytest.mark.slow
def test_two_clean_runs_from_raw_releases_to_embeddings_give_the_same_bytes(first: Path, tmp_path: Path):
    """Trainings, probes and the report have tests of their own for this, without the stages before them."""
    second = project(tmp_path)
    run(second, "dvc", "repro", "embed@random-0", first=warm_python.started())  # which hashes in another way
    made, again = outputs(first), outputs(second)
    assert {"data/raw/w300/manifest.json", "data/splits/tracks", "data/embeddings/random-0"} <= set(again)
    assert again == {path: made[path] for path in again}
