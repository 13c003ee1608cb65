"""Small faces with every kind of label, and what the stages from `embed` to `package` make of them and of a method."""

from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from model_samples import described
from probe_samples import mean_face

from fabnet.modules.method import Method
from pipelines import profile
from stages import embed, package, probe
from stages.runtime import config, tables
from stages.runtime.params import FewShotParams, Params
from stages.storage import media, shards
from stages.training import models

ROOT = Path(__file__).parents[2]
SIZE_PX, CROP_PX = 32, 64
SPLITS = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
KINDS: dict[str, tuple[str, pa.DataType]] = {
    "affectnet": ("expression", pa.int8()),
    "aflw": ("pose_rad", pa.list_(pa.float32(), 3)),
    "emotionet": ("action_units", pa.list_(pa.int8(), 11)),
    "mafl": ("landmarks", pa.list_(pa.float32(), 10)),
    "w300": ("landmarks", pa.list_(pa.float32(), 136)),
}
FEW = FewShotParams(shots=[2], draws=2)
PROBE = {"l2": [1e-2, 1.0], "max_iter": 20, "device": "cpu", "bootstrap": 20, "few_shot": FEW}


def params(method: str, settings: dict[str, Any], **changes: Any) -> Params:
    """The sample profile with one method and one seed."""
    found = config.parsed(profile.text("sample", ROOT / "profiles"), "sample")
    probed = found.probe.model_copy(update=PROBE)
    trained = found.lists.model_copy(update={"pretrained": [method], "refined": []})
    lists = {"methods": [method], "lists": trained, "seeds": [3], "probe": probed}
    return found.model_copy(update={**lists, "method": {method: settings}, **changes})


def labels(dataset: str) -> list[Any]:
    rng = np.random.default_rng(4)
    drawn: dict[str, Any] = {
        "affectnet": np.arange(len(SPLITS)) % 8,
        "aflw": rng.normal(scale=0.3, size=(len(SPLITS), 3)),
        "emotionet": rng.integers(0, 2, (len(SPLITS), 11)),
        "mafl": rng.uniform(8, 56, (len(SPLITS), 10)),
        "w300": mean_face() / 4 + rng.normal(size=(len(SPLITS), 136)),
    }
    return drawn[dataset].tolist()


def image(number: int) -> np.ndarray:
    """(CROP_PX, CROP_PX, 3) RGB as it is stored: red differs from blue."""
    coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), np.uint8)
    return cv2.resize(coarse, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC)


def write_inputs(root: Path) -> None:
    """Faces, and splits of faces and of two track data sets."""
    for dataset, (label, kind) in KINDS.items():
        _write_faces(root / "faces" / dataset, {label: kind}, labels(dataset))
        _write_splits(root / "splits" / "faces" / f"{dataset}.parquet")
    for dataset in ("voxceleb1", "voxceleb2"):
        _write_splits(root / "splits" / "tracks" / f"{dataset}.parquet")


def write_model(root: Path, module: ModuleType, settings: dict[str, Any]) -> Method:
    """A method with statistics that are not those of an untrained one, as `pretrain` writes it."""
    name = module.__name__.rsplit(".", 1)[-1]
    net = models.build(module, module.Params(**settings), seed=3, size_px=SIZE_PX)
    frames = torch.rand(16, max(net.frames, 1), 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(1))
    if net.is_solved:
        net.solve([frames])
    elif net.frames:
        net.train().losses(frames)
    trained_on = ("voxceleb1", "voxceleb2") if net.frames else ()
    dims = models.embedding_dims(net, SIZE_PX)
    description = described(name, settings, size_px=SIZE_PX, dims=dims, steps=7, trained_on=trained_on)
    models.save(root / "models" / f"{name}-3", description, net)
    return net.eval()


def evaluate(root: Path, of: Params) -> None:
    """What `embed` and `probe` make of every model."""
    for name in (f"{method}-{seed}" for method in of.methods for seed in of.seeds):
        embed.run(
            model=root / "models" / name,
            faces=root / "faces",
            tracks=root / "tracks",
            track_splits=root / "splits" / "tracks",
            out=root / "embeddings" / name,
            journal=root / "journal",
            face_sets=of.face_sets,
            track_sets=[],
            followed=[],
            embed=of.embed.model_copy(update={"batch": 5, "device": "cpu"}),
        )
        probe.run(
            embeddings=root / "embeddings" / name,
            faces=root / "faces",
            splits=root / "splits" / "faces",
            out=root / "metrics" / name,
            seed=of.seed,
            face_sets=of.face_sets,
            track_sets=[],
            followed=[],
            probe=of.probe,
            dataset=of.dataset,
        )


def pack(root: Path, of: Params, out: str = "packages") -> Path:
    """The folder that `package` writes for the only run of `of`."""
    (method,), (seed,) = of.methods, of.seeds
    name = f"{method}-{seed}"
    package.run(
        method,
        model=root / "models" / name,
        metrics=root / "metrics" / name,
        splits=root / "splits",
        out=root / out / name,
        params=of,
    )
    return root / out / name


def make(root: Path, module: ModuleType, settings: dict[str, Any]) -> Path:
    """All of it for one method; returns the folder of its model file."""
    of = params(module.__name__.rsplit(".", 1)[-1], settings)
    write_inputs(root)
    write_model(root, module, settings)
    evaluate(root, of)
    return pack(root, of)


def _write_faces(folder: Path, kinds: dict[str, pa.DataType], of_label: list[Any]) -> None:
    rows: list[dict[str, Any]] = []
    with shards.ShardWriter(folder / "00000.tar") as writer:
        for number, split in enumerate(SPLITS):
            data = media.encode_jpeg(image(number), 95)
            offset = writer.add(f"{number}.jpg", data)
            crop = [0.0, 0.0, float(CROP_PX), float(CROP_PX)]  # stored as it was: source pixels are those of the crop
            packed = {"shard": "00000.tar", "offset": offset, "size": len(data)}
            packed |= {"width_px": CROP_PX, "height_px": CROP_PX, "sha256": ""}
            of = {"sample_id": f"{number:02d}", "owner_split": split, "subset": "", "crop_xyxy_px": crop}
            rows.append({**of, **packed, next(iter(kinds)): of_label[number]})
    tables.write(folder / "index.parquet", tables.faces_schema(kinds), rows, key=["sample_id"])


def _write_splits(path: Path) -> None:
    rows = [{"sample_id": f"{n:02d}", "group_id": f"{n:02d}", "split": split} for n, split in enumerate(SPLITS)]
    tables.write(path, tables.SPLITS, rows, key=["sample_id"])
