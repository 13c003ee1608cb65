import hashlib
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import packaged
import pytest
import torch
from safetensors import safe_open
from torch import nn

import fabnet
from fabnet.inference.network import Network
from fabnet.modules import model_file
from fabnet.pretext import constant, fabnet_curriculum, fabnet_sources, own, pca
from fabnet.pretext import fabnet as single
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.storage import media
from stages.storage.shards import Shards

SMALL = {"width": 4, "embedding": 6}
HEADS = ["action_units", "expression", "mafl_landmarks", "pose", "w300_landmarks"]
METHODS: dict[ModuleType, dict[str, Any]] = {
    single: SMALL,
    fabnet_curriculum: {**SMALL, "patience": 2, "batch": 16},
    fabnet_sources: {**SMALL, "sources": 3},
    pca: {"embedding": 6, "side_px": 8, "frames": 16},
    constant: {"embedding": 6},
}


@pytest.fixture(scope="module", params=METHODS, ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A tree with a packed method, and the name of its run."""
    root = tmp_path_factory.mktemp("packed")
    return root, packaged.make(root, request.param, METHODS[request.param]).name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with FAb-Net in it."""
    root = tmp_path_factory.mktemp("fabnet")
    packaged.make(root, single, SMALL)
    return root


def crops(root: Path, dataset: str, split: str = "test") -> list[np.ndarray]:
    """The stored crops of one split, RGB, in the order of `sample_id`."""
    index = tables.read(root / "faces" / dataset / "index.parquet").sort_by("sample_id").to_pylist()
    with Shards(root / "faces" / dataset) as shards:
        rows = [row for row, of in zip(index, packaged.SPLITS, strict=True) if of == split]
        return [media.decode_image(shards.read(r["shard"], r["offset"], r["size"])) for r in rows]


def embedded(root: Path, run: str, dataset: str) -> np.ndarray:
    """What the embed stage wrote for the test split."""
    rows = tables.read(root / "embeddings" / run / f"{dataset}.parquet", tables.EMBEDDINGS).to_pylist()
    return np.array([row["embedding"] for row, split in zip(rows, packaged.SPLITS, strict=True) if split == "test"])


def predicted(root: Path, run: str, dataset: str, task: str) -> np.ndarray:
    """What the probe stage wrote for the test split."""
    rows = tables.read(root / "metrics" / run / "predictions.parquet", tables.PREDICTIONS).to_pylist()
    return np.array([row["prediction"] for row in rows if (row["dataset"], row["task"]) == (dataset, task)])


def load(root: Path, run: str) -> Network:
    return fabnet.load(root / "packages" / run, device="cpu")


def test_embeddings_equal_those_of_the_embed_stage(made: tuple[Path, str]):
    found = load(*made).embed(crops(made[0], "affectnet"), batch=3)
    assert found.dtype == np.float32
    assert found == pytest.approx(embedded(*made, "affectnet"), abs=1e-5)


def test_attributes_equal_the_predictions_of_the_probe_stage(made: tuple[Path, str]):
    net = load(*made)
    found = net.attributes(crops(made[0], "affectnet"))
    names = {"action_units": "emotionet", "expression": "affectnet", "pose": "aflw"}
    assert net.attribute_names == HEADS
    for name, dataset in names.items():
        assert found[name] == pytest.approx(predicted(*made, dataset, name), abs=1e-4)
    for dataset, points in (("mafl", 5), ("w300", 68)):
        assert found[f"{dataset}_landmarks"].shape == (8, points, 2)
        expected = predicted(*made, dataset, "landmarks").reshape(8, points, 2)
        assert found[f"{dataset}_landmarks"] == pytest.approx(expected, abs=1e-3)


def test_the_columns_of_every_attribute_are_named(trained: Path):
    columns = load(trained, "fabnet-3").columns
    assert columns["pose"] == ("roll", "pitch", "yaw")
    assert columns["expression"][:2] == ("neutral", "happy")
    assert columns["mafl_landmarks"] == ("x0", "y0", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
    assert {name: len(names) for name, names in columns.items()} == {
        "action_units": 11, "expression": 8, "mafl_landmarks": 10, "pose": 3, "w300_landmarks": 136,
    }  # fmt: skip


def test_the_file_holds_every_weight_once_and_their_origin(trained: Path):
    path = trained / "packages" / "fabnet-3" / model_file.NAME
    with safe_open(path, "pt") as file:
        names = set(file.keys())
    kinds = {name.rsplit(".", 2)[0] for name in names}
    assert kinds == {"method.net.encoder", "method.net.sampler", *(f"heads.{head}" for head in HEADS)}
    description, _ = model_file.read(path)
    assert (description.method, description.seed, description.steps, description.size_px, description.dims) == (
        "fabnet",
        3,
        7,
        32,
        6,
    )
    assert description.trained_on == ("voxceleb1", "voxceleb2")
    crop = description.crop
    assert (crop.detector, crop.upsample, crop.margin_frac, crop.crop_px) == ("dlib_hog", (0, 1), 0.0, 256)
    assert {head.l2 for head in description.heads} <= {1e-2, 1.0}
    assert description.synthetic == description.datasets


def test_faces_are_cut_out_at_the_networks_own_side_and_with_the_margin_if_its_images_were(trained: Path):
    params = packaged.params("fabnet", SMALL)
    detect = params.detect.model_copy(update={"further_px": [32, 224], "margin_frac": 0.2})
    folder = packaged.pack(trained, params.model_copy(update={"detect": detect}), "further")
    crop = model_file.read(folder / model_file.NAME)[0].crop
    assert (crop.crop_px, crop.margin_frac) == (32, 0.2)


def test_a_second_run_writes_the_same_bytes(trained: Path):
    again = packaged.pack(trained, packaged.params("fabnet", SMALL), "again")
    files = sorted(path.name for path in again.iterdir())
    assert files == ["README.md", "model.safetensors", "rejects.parquet"]
    for name in files:
        assert (again / name).read_bytes() == (trained / "packages" / "fabnet-3" / name).read_bytes()


def test_the_card_names_data_settings_metrics_with_intervals_and_limits(trained: Path):
    card = (trained / "packages" / "fabnet-3" / "README.md").read_text(encoding="utf-8")
    assert "| voxceleb1 | pre-training | 24 | 8 | 8 | synthetic, made by this project" in card
    assert "| width | 4 |" in card
    metrics = tables.read(trained / "metrics" / "fabnet-3" / "metrics.parquet", tables.SCORES).to_pylist()
    row = next(row for row in metrics if (row["metric"], row["target"]) == ("angle_error_deg", "mean"))
    interval = f"{row['value']:.2f} | [{row['ci_low']:.2f}, {row['ci_high']:.2f}] | 8 |"
    assert f"| aflw | pose | mean absolute error, degrees ↓ | {interval}" in card
    assert "## Limits" in card
    assert "nothing about real faces" in card


def test_the_card_of_a_real_release_names_its_owner(trained: Path):
    of = packaged.params("fabnet", SMALL)
    fetched = of.dataset["aflw"].fetch.model_copy(update={"source": "folder"})
    changed = of.dataset | {"aflw": of.dataset["aflw"].model_copy(update={"fetch": fetched})}
    out = packaged.pack(trained, of.model_copy(update={"dataset": changed}), "real")
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "the Institute of Computer Graphics and Vision, TU Graz" in card
    assert "inherits the terms of the data" in card
    description, _ = model_file.read(out / model_file.NAME)
    assert set(description.datasets) - set(description.synthetic) == {"aflw"}


def test_an_encoder_of_the_users_own_becomes_a_reject(tmp_path: Path):
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
    program = torch.export.export(encoder, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, tmp_path / "own.pt2")
    digest = hashlib.sha256((tmp_path / "own.pt2").read_bytes()).hexdigest()
    settings = {
        "weights": str(tmp_path / "own.pt2"), "weights_sha256": digest, "kind": "export", "name": "",
        "size_px": 32, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    packed = packaged.make(tmp_path, own, settings)
    assert [path.name for path in packed.iterdir()] == ["rejects.parquet"]
    rows = tables.read(packed / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["key"], row["stage"]) for row in rows] == [("own-3", "package")]
    assert "may contain executable code" in rows[0]["kind"]


def test_a_missing_probe_head_is_a_user_error(trained: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "tree")
    (tmp_path / "tree" / "metrics" / "fabnet-3" / "heads" / "aflw.pose.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"aflw.pose.safetensors is not a readable probe head .*: run `dvc repro --force probe`"
    ):
        packaged.pack(tmp_path / "tree", packaged.params("fabnet", SMALL))
    assert (tmp_path / "tree" / "packages" / "fabnet-3" / model_file.NAME).exists()
