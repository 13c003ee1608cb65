from pathlib import Path
from typing import Any

import numpy as np
import probe_samples
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from stages import probe
from stages.evaluation import labelled, scores
from stages.runtime import tables
from stages.runtime.errors import UserError, reason
from stages.runtime.params import FewShotParams


def run(paths: dict[str, Path], out: Path, **changes: Any) -> None:
    arguments: dict[str, Any] = {
        "seed": 7,
        "face_sets": ["affectnet", "w300"],
        "track_sets": probe_samples.TRACKS,
        "followed": ["w300"],
        "probe": probe_samples.PARAMS,
        "dataset": probe_samples.SETTINGS,
    }
    probe.run(**paths, out=out, **(arguments | changes))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results for embeddings from which the labels follow."""
    root = tmp_path_factory.mktemp("good")
    run(probe_samples.write_tree(root), root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results for embeddings that are noise."""
    root = tmp_path_factory.mktemp("noise")
    run(probe_samples.write_tree(root, method="noise-0", learnable=False), root / "out")
    return root / "out"


def values(out: Path, split: str = "test") -> dict[tuple[str, str], float]:
    rows = tables.read(out / "metrics.parquet", tables.SCORES).to_pylist()
    return {(row["metric"], row["target"]): row["value"] for row in rows if row["split"] == split}


def relabel(path: Path, column: str, change: dict[int, Any]) -> None:
    """Rewrite some rows of one column, whatever the table's key."""
    table = pq.read_table(path)
    labels = table[column].to_pylist()
    for row, label in change.items():
        labels[row] = label
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(labels, table.schema.field(column).type)), path)


def test_planted_labels_are_predicted_and_noise_is_not(good: Path, noise: Path):
    assert values(good)["auc", "mean"] > 0.95
    assert values(noise)["auc", "mean"] == pytest.approx(0.5, abs=0.15)
    assert values(good)["interocular_percent", "mean"] < 0.1
    assert values(noise)["interocular_percent", "mean"] > 3


def test_landmark_error_is_that_of_source_pixels(tmp_path: Path):
    # crops are stored at half their width: the same miss weighs twice as much along x as along y
    paths = probe_samples.write_tree(tmp_path, learnable=False)
    run(paths, tmp_path / "out")
    table = tables.read(tmp_path / "out" / "predictions.parquet", tables.PREDICTIONS)
    rows = [row for row in table.to_pylist() if row["dataset"] == "w300"]
    index = tables.read(paths["faces"] / "w300" / "index.parquet").to_pylist()
    stored = {row["sample_id"]: np.array(row["landmarks"]).reshape(68, 2) for row in index}
    errors: list[float] = []
    for row in rows:
        truth, prediction = (np.array(row[name]).reshape(68, 2) for name in ("truth", "prediction"))
        assert truth[:, 0] == pytest.approx(10 + (stored[row["sample_id"]][:, 0] + 0.5) * 2 - 0.5, abs=1e-3)
        assert truth[:, 1] == pytest.approx(20 + stored[row["sample_id"]][:, 1], abs=1e-3)
        distances = np.hypot(*(truth - prediction).T)
        errors.append(100 * distances.mean() / np.hypot(*(truth[36] - truth[45])))
    assert values(tmp_path / "out")["interocular_percent", "mean"] == pytest.approx(np.mean(errors))


def test_scores_agree_with_scikit_learn_on_the_written_predictions(good: Path):
    table = tables.read(good / "predictions.parquet", tables.PREDICTIONS)
    rows = [row for row in table.to_pylist() if row["task"] == "expression"]
    truth, scores = (np.array([row[name] for row in rows]) for name in ("truth", "prediction"))
    found = values(good)
    assert len(rows) == probe_samples.COUNTS["test"]
    for k, name in enumerate(probe_samples.CLASSES):
        assert found["auc", name] == pytest.approx(roc_auc_score(truth[:, k], scores[:, k]))
    assert found["accuracy", "mean"] == pytest.approx((truth.argmax(1) == scores.argmax(1)).mean())


def test_the_owners_subsets_and_the_regions_get_rows(good: Path):
    rows = tables.read(good / "metrics.parquet", tables.SCORES).to_pylist()
    landmarks = [row for row in rows if row["task"] == "landmarks"]
    counts = {row["split"]: row["n"] for row in landmarks}
    assert counts == {"test": 60, "test/common": 45, "test/challenging": 15}
    assert {row["target"] for row in landmarks} == {"mean", "jaw", "brows", "nose", "eyes", "mouth"}
    assert {row["split"] for row in rows if row["task"] == "expression"} == {"test"}


def test_test_labels_change_neither_heads_nor_sweeps(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    run(paths, tmp_path / "first")
    index = paths["faces"] / "affectnet" / "index.parquet"
    ids = tables.read(index)["sample_id"].to_pylist()
    relabel(index, "expression", {row: row % 3 for row, key in enumerate(ids) if key.startswith("test")})
    run(paths, tmp_path / "second")
    for name in ("sweeps.parquet", "heads/affectnet.expression.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert values(tmp_path / "first") != values(tmp_path / "second")


def test_heads_are_written_in_the_layout_of_the_released_ones(good: Path):
    head = load_file(good / "heads" / "w300.landmarks.safetensors")
    assert sorted(head) == ["0.bias", "0.running_mean", "0.running_var", "0.weight", "1.weight"]
    assert tuple(head["1.weight"].shape) == (136, probe_samples.DIMS)


def test_a_second_run_writes_the_same_bytes(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    probe_samples.write_checkpoint(tmp_path, 300, noise=1.0)
    run(paths, tmp_path / "first")
    run(paths, tmp_path / "second")
    names = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(names) == 11
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_class_without_test_images_becomes_a_reject_and_leaves_the_mean(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    index = paths["faces"] / "affectnet" / "index.parquet"
    table = tables.read(index)
    pairs = enumerate(zip(table["sample_id"].to_pylist(), table["expression"].to_pylist(), strict=True))
    relabel(index, "expression", {row: 0 for row, (key, code) in pairs if key.startswith("test") and code == 2})
    run(paths, tmp_path / "out")
    found = values(tmp_path / "out")
    assert ("auc", "sad") not in found
    assert found["auc", "mean"] == pytest.approx((found["auc", "neutral"] + found["auc", "happy"]) / 2)
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [row["key"] for row in rejects] == ["expression/test/sad", "retrieval/test/sad"]
    assert all("undefined" in row["kind"] for row in rejects)


def test_one_embedding_that_is_no_number_is_a_user_error_that_names_it(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    for name, schema in (("w300", tables.EMBEDDINGS), ("voxceleb2", tables.TRACK_EMBEDDINGS)):
        path = paths["embeddings"] / f"{name}.parquet"
        table = tables.read(path, schema)
        rows = table.to_pylist()
        rows[7]["embedding"][2] = float("nan")
        tables.write(path, schema, rows, key=["sample_id"], metadata={tables.STEPS: str(probe_samples.STEPS)})
        found = rf"{name}\.parquet: all embeddings should be finite numbers, 1 of {len(rows)}, that of "
        with pytest.raises(UserError, match=found + rows[7]["sample_id"]):
            run(paths, tmp_path / "out")
        tables.write(path, schema, table, key=["sample_id"], metadata={tables.STEPS: str(probe_samples.STEPS)})


def test_labels_of_one_class_have_no_accuracy_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    paths = probe_samples.write_tree(tmp_path)
    index = paths["faces"] / "affectnet" / "index.parquet"
    relabel(index, "expression", dict.fromkeys(range(sum(probe_samples.COUNTS.values())), 1))
    run(paths, tmp_path / "out")
    rows = tables.read(tmp_path / "out" / "metrics.parquet", tables.SCORES).to_pylist()
    assert {row["metric"] for row in rows if row["dataset"] == "affectnet"} == {"neighbour_recall"}  # of the class
    assert not [row for row in rows if (row["dataset"], row["target"]) == ("affectnet", "mean")]
    said = (
        "warning: probe: affectnet expression: all labels of the test split are the same: 60 images of the class happy"
    )
    assert said in caplog.messages
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    same = {row["key"] for row in rejects if row["kind"] == labelled.SAME_LABELS}
    assert same >= {f"expression/{split}" for split in tables.SPLIT_NAMES}
    assert ("expression/test/mean", "accuracy is undefined") in {(row["key"], row["kind"]) for row in rejects}


def test_a_test_split_of_one_image_has_no_interval_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    paths = probe_samples.write_tree(tmp_path)
    path = paths["splits"] / "w300.parquet"
    rows = tables.read(path, tables.SPLITS).to_pylist()
    kept = [row for row in rows if row["split"] != "test" or row["sample_id"] == "test/0001"]
    tables.write(path, tables.SPLITS, kept, key=["sample_id"])
    run(paths, tmp_path / "out")
    rows = tables.read(tmp_path / "out" / "metrics.parquet", tables.SCORES).to_pylist()
    (row,) = (row for row in rows if (row["dataset"], row["target"]) == ("w300", "mean"))
    assert (row["n"], np.isfinite(row["value"]), np.isnan([row["ci_low"], row["ci_high"]]).all()) == (1, True, True)
    assert (
        "warning: probe: w300 landmarks: test interocular_percent has no interval, since it is over one image"
        in caplog.messages
    )


@pytest.mark.parametrize(("method", "is_told"), [("own-0", True), ("constant-0", False)])
def test_an_embedding_that_has_collapsed_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str, is_told: bool
):
    paths = probe_samples.write_tree(tmp_path, method=method)
    ids = tables.read(paths["embeddings"] / "w300.parquet")["sample_id"].to_pylist()
    same = np.full((len(ids), probe_samples.DIMS), 0.3)
    probe_samples.write_embeddings(paths["embeddings"] / "w300.parquet", ids, same, steps=0)
    run(paths, tmp_path / "out")
    said = "warning: probe: the embedding of w300 has collapsed: the effective rank is 1.0, below 3"
    assert caplog.messages == ([said] if is_told else [])  # nothing of affectnet


def test_unusable_labels_become_rejects(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    relabel(paths["faces"] / "affectnet" / "index.parquet", "expression", {0: None, 1: 9})
    blind = np.tile([50.0, 60.0], 68).tolist()
    relabel(paths["faces"] / "w300" / "index.parquet", "landmarks", {3: blind})
    run(paths, tmp_path / "out")
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert {row["key"].split("/")[0] for row in rejects} == {"expression", "landmarks", "retrieval"}
    assert sorted(reason(row["kind"], row["detail"]) for row in rejects if not row["key"].startswith("retrieval")) == [
        "no label",
        "the two eye points coincide",
        "unknown class: 9",
    ]


def test_images_without_embedding_are_left_out(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    path = paths["embeddings"] / "affectnet.parquet"
    table = tables.read(path).slice(20)
    vectors = np.stack(table["embedding"].to_numpy())
    probe_samples.write_embeddings(path, table["sample_id"].to_pylist(), vectors, steps=900)
    run(paths, tmp_path / "out")
    rows = tables.read(tmp_path / "out" / "metrics.parquet", tables.SCORES).to_pylist()
    found = {(row["metric"], row["target"]): row["n"] for row in rows if row["dataset"] == "affectnet"}
    assert {n for (metric, _), n in found.items() if metric != "neighbour_recall"} == {40}
    assert (
        found["neighbour_recall", "mean"]
        == 40
        == sum(found["neighbour_recall", name] for name in probe_samples.CLASSES)
    )
    positives = {row["target"]: row["positives"] for row in rows if row["metric"] == "auc"}
    assert positives == {"mean": None, **{name: found["neighbour_recall", name] for name in probe_samples.CLASSES}}
    assert all(
        row["better"] == ("lower" if row["task"] in ("landmarks", scores.IDENTITY) else "higher") for row in rows
    )


def curve(out: Path) -> dict[int, float]:
    rows = tables.read(out / "learning_curves.parquet", tables.LEARNING_CURVES).to_pylist()
    assert {(row["dataset"], row["task"], row["metric"], row["n"]) for row in rows} == {
        ("w300", "landmarks", "interocular_percent", probe_samples.COUNTS["val"])
    }
    return {row["step"]: row["value"] for row in rows}


def test_the_learning_curve_has_a_point_for_every_checkpoint_and_for_the_final_encoder(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    probe_samples.write_checkpoint(tmp_path, 300, noise=3.0)
    probe_samples.write_checkpoint(tmp_path, 600, noise=0.3)
    run(paths, tmp_path / "out")
    found = curve(tmp_path / "out")
    assert sorted(found) == [300, 600, probe_samples.STEPS]
    assert found[300] > found[600] > found[900]


def test_a_method_without_checkpoints_has_one_point(good: Path):
    assert list(curve(good)) == [probe_samples.STEPS]


def test_the_learning_curve_does_not_depend_on_test_labels(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    probe_samples.write_checkpoint(tmp_path, 300, noise=1.0)
    run(paths, tmp_path / "first")
    index = paths["faces"] / "w300" / "index.parquet"
    ids = tables.read(index)["sample_id"].to_pylist()
    wrong = np.linspace(0, 255, 136).tolist()
    relabel(index, "landmarks", {row: wrong for row, key in enumerate(ids) if key.startswith("test")})
    run(paths, tmp_path / "second")
    assert curve(tmp_path / "first") == curve(tmp_path / "second")
    assert values(tmp_path / "first") != values(tmp_path / "second")


def test_the_learning_curve_is_measured_on_the_validation_split(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    run(paths, tmp_path / "first")
    index = paths["faces"] / "w300" / "index.parquet"
    table = tables.read(index)
    marks = zip(table["sample_id"].to_pylist(), table["landmarks"].to_pylist(), strict=True)
    relabel(index, "landmarks", {row: marks_[::-1] for row, (key, marks_) in enumerate(marks) if key.startswith("val")})
    run(paths, tmp_path / "second")
    assert curve(tmp_path / "second")[900] > 10 * curve(tmp_path / "first")[900]


def test_embeddings_without_their_steps_are_a_user_error(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    path = paths["embeddings"] / "w300.parquet"
    tables.write(path, tables.EMBEDDINGS, tables.read(path), key=["sample_id"])
    with pytest.raises(UserError, match=r"w300.parquet does not say how long its encoder was trained"):
        run(paths, tmp_path / "out")


def test_retrieval_finds_planted_classes_and_has_neither_sweep_nor_head(good: Path, noise: Path):
    at_chance = values(noise)["neighbour_recall", "mean"]
    assert values(good)["neighbour_recall", "mean"] > at_chance + 0.1
    assert at_chance == pytest.approx(1 / 3, abs=0.1)
    sweeps = tables.read(good / "sweeps.parquet", tables.SWEEPS)
    assert set(sweeps["task"].to_pylist()) == {"expression", "landmarks"}
    assert not (good / "heads" / "affectnet.retrieval.safetensors").exists()


def test_an_embedding_that_separates_identities_leaks_them(good: Path, noise: Path):
    leaks, of_noise = (
        [
            row
            for row in tables.read(out / "metrics.parquet", tables.SCORES).to_pylist()
            if row["task"] == scores.IDENTITY
        ]
        for out in (good, noise)
    )
    assert [(row["dataset"], row["split"], row["target"], row["n"]) for row in leaks] == [
        (dataset, "test", "mean", 8) for dataset in probe_samples.TRACKS
    ]
    assert all(row["value"] == row["ci_low"] == row["ci_high"] == 1 for row in leaks)
    assert all(row["ci_low"] < row["value"] < row["ci_high"] < 0.6 for row in of_noise)


@pytest.mark.parametrize("frames", [["a/1/1/0", "b/1/1/0", "b/1/2/0"], ["a/1/1/0", "a/2/1/0"], []])
def test_tracks_without_two_identities_and_two_videos_become_a_reject(frames: list[str], tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    vectors = np.random.default_rng(1).normal(size=(len(frames), probe_samples.DIMS))
    probe_samples.write_track_embeddings(paths["embeddings"] / "voxceleb2.parquet", frames, vectors, steps=900)
    run(paths, tmp_path / "out")
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["dataset"], row["key"]) for row in rejects] == [("voxceleb2", f"{scores.IDENTITY}/test")]
    rows = tables.read(tmp_path / "out" / "metrics.parquet", tables.SCORES).to_pylist()
    assert {row["dataset"] for row in rows if row["task"] == scores.IDENTITY} == {"voxceleb1"}


def test_a_task_without_validation_images_is_a_user_error(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    path = paths["splits"] / "affectnet.parquet"
    rows = [row | {"split": row["split"].replace("val", "train")} for row in tables.read(path).to_pylist()]
    tables.write(path, tables.SPLITS, rows, key=["sample_id"])
    with pytest.raises(UserError, match="affectnet expression: no usable image in the split val"):
        run(paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_a_user_error(tmp_path: Path):
    params = probe_samples.PARAMS.model_copy(update={"device": "cuda"})
    with pytest.raises(UserError, match=r"probe.device: device 'cuda' is not available here: take auto or cpu"):
        run(probe_samples.write_tree(tmp_path), tmp_path / "out", probe=params)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_results(good: Path, tmp_path: Path):
    params = probe_samples.PARAMS.model_copy(update={"device": "cuda"})
    run(probe_samples.write_tree(tmp_path), tmp_path / "out", probe=params)
    assert values(tmp_path / "out") == pytest.approx(values(good), abs=1e-4)


def test_an_unknown_label_column_is_a_user_error_that_names_it(tmp_path: Path):
    task = probe_samples.SETTINGS["affectnet"].tasks["expression"].model_copy(update={"label": "valence"})
    changed = probe_samples.SETTINGS["affectnet"].model_copy(update={"tasks": {"expression": task}})
    with pytest.raises(UserError, match="no column 'valence'"):
        run(
            probe_samples.write_tree(tmp_path),
            tmp_path / "out",
            dataset=probe_samples.SETTINGS | {"affectnet": changed},
        )


def write_own_head(paths: dict[str, Path], fitted: Path, *, outputs: int | None = None) -> None:
    """Give the landmark head of an earlier run out as one that came with the weights."""
    state = load_file(fitted / "heads" / "w300.landmarks.safetensors")
    folder = paths["embeddings"] / "own_heads"
    folder.mkdir()
    save_file({**state, "1.weight": state["1.weight"][:outputs]}, folder / "w300.landmarks.safetensors")


def test_a_head_that_came_with_the_weights_is_scored_in_a_table_of_its_own(tmp_path: Path, good: Path):
    paths = probe_samples.write_tree(tmp_path)
    write_own_head(paths, good)
    run(paths, tmp_path / "out")
    own = tables.read(tmp_path / "out" / "own_heads.parquet", tables.SCORES).to_pylist()
    fitted = tables.read(good / "metrics.parquet", tables.SCORES).to_pylist()
    assert own == [row for row in fitted if row["task"] == "landmarks" and row["split"] == "test"]
    for name in ("metrics.parquet", "predictions.parquet", "heads/w300.landmarks.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (good / name).read_bytes()


def test_without_heads_of_their_own_the_table_is_empty(good: Path):
    assert not len(tables.read(good / "own_heads.parquet", tables.SCORES))


def test_a_head_with_other_outputs_than_the_task_is_a_reject(tmp_path: Path, good: Path):
    paths = probe_samples.write_tree(tmp_path)
    write_own_head(paths, good, outputs=10)
    run(paths, tmp_path / "out")
    assert not len(tables.read(tmp_path / "out" / "own_heads.parquet", tables.SCORES))
    (reject,) = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert reject["key"] == "landmarks/own_head"
    assert reject["detail"] == "expected outputs and dimensions (136, 12), found (10, 12)"


def test_a_damaged_head_of_the_weights_is_an_error_that_names_it(tmp_path: Path, good: Path):
    paths = probe_samples.write_tree(tmp_path)
    write_own_head(paths, good)
    (paths["embeddings"] / "own_heads" / "w300.landmarks.safetensors").write_bytes(b"head")
    with pytest.raises(UserError, match=r"w300.landmarks.safetensors is not a readable probe head"):
        run(paths, tmp_path / "out")


def test_few_shot_probes_have_a_row_for_every_metric_number_of_shots_and_draw(good: Path, noise: Path):
    rows, of_noise = (tables.read(out / "few_shot.parquet", tables.FEW_SHOT).to_pylist() for out in (good, noise))
    keys = [(row["task"], row["metric"], row["shots"], row["draw"]) for row in rows]
    assert len(keys) == len(set(keys)) == 4 * 2 * 2
    images = {(row["task"], row["shots"]): row["images"] for row in rows}
    assert (images["expression", 2], images["expression", 10]) == (6, 30)  # of each of three classes
    assert (images["landmarks", 2], images["landmarks", 10]) == (2, 10)  # in all
    aucs, noisy = (
        [row["value"] for row in found if row["metric"] == "auc" and row["shots"] == 10] for found in (rows, of_noise)
    )
    assert min(aucs) > max(noisy) + 0.1


def test_draws_of_few_shots_that_hold_the_same_images_are_one(tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    shots = FewShotParams(shots=[2, probe_samples.COUNTS["train"]], draws=3)  # the second: all images in each draw
    run(paths, tmp_path / "out", probe=probe_samples.PARAMS.model_copy(update={"few_shot": shots}))
    rows = tables.read(tmp_path / "out" / "few_shot.parquet", tables.FEW_SHOT).to_pylist()
    draws = {shots: {row["draw"] for row in rows if row["shots"] == shots} for shots in shots.shots}
    assert draws == {2: {0, 1, 2}, probe_samples.COUNTS["train"]: {0}}


def test_images_of_one_group_of_the_splits_are_counted_as_one_and_widen_the_interval(good: Path, tmp_path: Path):
    paths = probe_samples.write_tree(tmp_path)
    path = paths["splits"] / "affectnet.parquet"
    rows = tables.read(path).to_pylist()
    grouped = [row | {"group_id": row["group_id"][:-1]} for row in rows]  # ten images each
    tables.write(path, tables.SPLITS, grouped, key=["sample_id"])
    run(paths, tmp_path / "out")
    alone, together = (
        next(row for row in table if row["metric"] == "accuracy")
        for table in (
            tables.read(out / "metrics.parquet", tables.SCORES).to_pylist() for out in (good, tmp_path / "out")
        )
    )
    assert (alone["n"], alone["groups"], together["n"], together["groups"]) == (60, 60, 60, 6)
    assert alone["value"] == together["value"]
    predictions = tables.read(tmp_path / "out" / "predictions.parquet", tables.PREDICTIONS).to_pylist()
    assert len({row["group_id"] for row in predictions if row["task"] == "expression"}) == 6
