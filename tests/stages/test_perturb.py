from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from perturb_samples import CHANGES, CODES, DATASET, PROBE, TASKS, evaluate, run, write_faces

from fabnet.pretext import constant, random
from stages import probe
from stages.evaluation.scores import Predictions, interocular_percent
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import PerturbParams, TaskParams
from stages.sensitivity import recutting


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("whole")
    write_faces(root)
    return evaluate(root, random, {"width": 4, "embedding": 8})


def test_the_crop_as_it_is_has_the_score_of_the_test_split(paths: dict[str, Path], tmp_path: Path):
    found = run(paths, tmp_path / "out")
    assert set(found) == {(task, *change) for task in TASKS for change in ((0.8, 0), (1.0, 0), (1.25, 0), (1.0, 0.1))}
    for row in tables.read(paths["metrics"] / "metrics.parquet", tables.SCORES).to_pylist():
        if (row["split"], row["target"]) == ("test", "mean"):
            unchanged = found[row["task"], 1.0, 0.0]
            expected = {name: row[name] for name in ("metric", "better", "n", "groups")}
            assert expected == {name: unchanged[name] for name in expected}
            for name in ("value", "ci_low", "ci_high"):
                assert unchanged[name] == pytest.approx(row[name], rel=1e-5)
            assert unchanged["change"] == 0
    assert found["landmarks", 1.0, 0.0]["value"] != found["landmarks", 0.8, 0.0]["value"]


def test_a_point_predicted_in_the_changed_crop_is_measured_in_the_source_image(tmp_path: Path):
    # an embedding that is the same for all images lets every prediction keep its place in the crop
    write_faces(tmp_path)
    paths = evaluate(tmp_path, constant, {"embedding": 4})
    found = run(paths, tmp_path / "out")
    boxes = {row["sample_id"]: row["crop_xyxy_px"] for row in pq.read_table(
        paths["faces"] / "w300" / "index.parquet", columns=["sample_id", "crop_xyxy_px"]).to_pylist()}  # fmt: skip
    told = tables.read(paths["metrics"] / "predictions.parquet", tables.PREDICTIONS).to_pylist()
    told = [row for row in told if row["task"] == "landmarks"]
    changes = [change for change in recutting.changes(CHANGES) if change.shift or change.scale == 0.8]
    errors: dict[float, list[float]] = {}
    for change in changes:
        moved = [np.array(row["prediction"]).reshape(-1, 2) for row in told]
        for points, row in zip(moved, told, strict=True):
            before, after = np.array(boxes[row["sample_id"]]), np.array(change.of(boxes[row["sample_id"]]))
            share = (points + 0.5 - before[:2]) / (before[2:] - before[:2])
            points[:] = after[:2] + share * (after[2:] - after[:2]) - 0.5
        truth = np.array([row["truth"] for row in told])
        images = Predictions(truth, np.array(moved).reshape(truth.shape), ())
        value = interocular_percent(images)["mean"].of(np.ones((1, len(told))))[0]
        errors.setdefault(change.shift, []).append(value)
    assert found["landmarks", 0.8, 0.0]["value"] == pytest.approx(errors[0.0][0], rel=1e-5)
    assert found["landmarks", 1.0, 0.1]["value"] == pytest.approx(np.mean(errors[0.1]), rel=1e-5)


def test_a_box_is_changed_around_its_centre_and_by_shares_of_its_sides():
    params = PerturbParams(images=1, scales=[0.5, 1.0], shifts=[0.1])
    found = [change.of((10.0, 20.0, 50.0, 40.0)) for change in recutting.changes(params)]
    assert found == [
        (20, 25, 40, 35), (10, 20, 50, 40),
        (14, 20, 54, 40), (6, 20, 46, 40), (10, 22, 50, 42), (10, 18, 50, 38),
    ]  # fmt: skip


def test_some_test_images_are_enough_and_give_the_same_bytes_again(paths: dict[str, Path], tmp_path: Path):
    few = CHANGES.model_copy(update={"images": 5})
    found = run(paths, tmp_path / "first", perturb=few)
    assert {row["n"] for row in found.values()} == {5} | {
        row["n"] for (task, _, _), row in found.items() if task == "retrieval"
    }
    run(paths, tmp_path / "second", perturb=few)
    for name in ("sensitivity.parquet", "rejects.parquet"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_an_image_that_the_release_has_lost_since_it_was_packed_is_a_reject(tmp_path: Path):
    write_faces(tmp_path)
    paths = evaluate(tmp_path, random, {"width": 4, "embedding": 8})
    (tmp_path / "raw" / "w300" / "ibug" / "03.jpg").unlink()
    manifest = tmp_path / "raw" / "w300" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("ibug/04.", "ibug/elsewhere."))
    found = run(paths, tmp_path / "out")
    assert found["landmarks", 1.0, 0.0]["n"] == 12
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert {row["key"]: row["kind"] for row in rejects} == {"ibug/03": "no such file", "ibug/04": "no such image"}


def test_a_missing_head_or_release_is_a_sentence(paths: dict[str, Path], tmp_path: Path):
    with pytest.raises(UserError, match=r"w300\.landmarks\.safetensors is not a usable probe head .*: run `dvc repro"):
        run({**paths, "metrics": tmp_path}, tmp_path / "out")
    with pytest.raises(UserError, match=r"w300/manifest\.json is missing: run `dvc repro fetch` to make it"):
        run({**paths, "raw": tmp_path}, tmp_path / "out")


def test_every_metric_of_a_task_has_rows(paths: dict[str, Path], tmp_path: Path):
    alone, read = evenness(paths, ["auc", "accuracy"])
    probe.run(**read, out=tmp_path / "metrics", **alone)
    run({**paths, "metrics": tmp_path / "metrics"}, tmp_path / "out", dataset=alone["dataset"])
    rows = tables.read(tmp_path / "out" / "sensitivity.parquet", tables.SENSITIVITY).to_pylist()
    assert {(row["metric"], row["scale"], row["shift"]) for row in rows} == {
        (metric, *change) for metric in ("auc", "accuracy") for change in ((0.8, 0), (1.0, 0), (1.25, 0), (1.0, 0.1))
    }
    of_probe = tables.read(tmp_path / "metrics" / "metrics.parquet", tables.SCORES).to_pylist()
    expected = {row["metric"]: row["value"] for row in of_probe if (row["split"], row["target"]) == ("test", "mean")}
    found = {row["metric"]: row["value"] for row in rows if (row["scale"], row["shift"]) == (1.0, 0.0)}
    assert found == pytest.approx({metric: expected[metric] for metric in ("auc", "accuracy")})


def evenness(paths: dict[str, Path], metrics: list[str]) -> tuple[dict[str, Any], dict[str, Path]]:
    """Options of `probe` for the one task of telling even from odd, and what it reads."""
    task = TaskParams(probe="classes", label="code", metrics=metrics, classes=CODES)
    alone = {"w300": DATASET["w300"].model_copy(update={"tasks": {"evenness": task}})}
    of = {"seed": 7, "face_sets": ["w300"], "track_sets": [], "followed": [], "probe": PROBE, "dataset": alone}
    return of, {name: paths[name] for name in ("faces", "splits", "embeddings")}


def test_a_metric_that_is_undefined_on_the_chosen_images_is_a_reject(paths: dict[str, Path], tmp_path: Path):
    alone, read = evenness(paths, ["auc"])
    probe.run(**read, out=tmp_path / "metrics", **alone)
    one = CHANGES.model_copy(update={"images": 1})
    found = run({**paths, "metrics": tmp_path / "metrics"}, tmp_path / "out", dataset=alone["dataset"], perturb=one)
    assert found == {}
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert {(row["key"], row["kind"]) for row in rejects} == {
        (f"evenness/{change}", "auc is undefined") for change in ("0.8/0", "1/0", "1.25/0", "1/0.1")
    }
