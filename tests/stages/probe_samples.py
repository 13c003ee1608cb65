"""Small tables of two still-image data sets, whose labels follow from the embeddings or do not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.runtime import tables
from stages.runtime.params import BoxParams, DatasetParams, FetchParams, FewShotParams, ProbeParams, TaskParams

CLASSES = ["neutral", "happy", "sad"]
COUNTS = {"train": 120, "val": 40, "test": 60}
DIMS = 12
STEPS = 900  # of the encoder behind the embeddings
TRACKS = ["voxceleb1", "voxceleb2"]
PARAMS = ProbeParams(
    l2=[1e-4, 1e-2, 1.0],
    max_iter=100,
    neighbours=5,
    device="cpu",
    bootstrap=20,
    confidence=0.95,
    few_shot=FewShotParams(shots=[2, 10], draws=2),
)
FETCH = FetchParams(source="synthetic", folder="data/releases")
SETTINGS = {
    "affectnet": DatasetParams(
        fetch=FETCH,
        synthetic={},
        tasks={
            "expression": TaskParams(probe="classes", label="expression", metrics=["auc", "accuracy"], classes=CLASSES),
            "retrieval": TaskParams(
                probe="neighbours", label="expression", metrics=["neighbour_recall"], classes=CLASSES
            ),
        },
    ),
    "w300": DatasetParams(
        fetch=FETCH,
        synthetic={},
        index=BoxParams(margin_frac=0.1),
        tasks={"landmarks": TaskParams(probe="points", label="landmarks", metrics=["interocular_percent"])},
    ),
}


def mean_face() -> np.ndarray:
    """(136,) points in pixels of a 256 px crop, outer eye corners 100 px apart."""
    points = np.random.default_rng(5).uniform(60, 190, (68, 2))
    points[36], points[45] = (80, 100), (180, 100)
    return points.ravel()


def write_tree(root: Path, *, method: str = "fabnet-0", learnable: bool = True, seed: int = 1) -> dict[str, Path]:
    """Faces, splits and embeddings as `probe` reads them."""
    rng = np.random.default_rng(11)  # the images are the same for every method
    x = rng.normal(size=(sum(COUNTS.values()), DIMS))
    seen = x if learnable else np.random.default_rng(seed).normal(size=x.shape)
    expression = (x[:, :3] + 0.3 * rng.normal(size=(len(x), 3))).argmax(1)
    landmarks = mean_face() + 2 * x[:, :6] @ rng.normal(size=(6, 136))
    folder = root / "embeddings" / method
    _write_dataset(root, "affectnet", {"expression": pa.int8()}, {"expression": expression.tolist()})
    _write_dataset(root, "w300", {"landmarks": pa.list_(pa.float32(), 136)}, {"landmarks": landmarks.tolist()})
    for dataset in ("affectnet", "w300"):
        write_embeddings(folder / f"{dataset}.parquet", _ids(), seen, steps=STEPS)
    for dataset in TRACKS:
        frames = [f"id{n // 12}/v{n // 4}/00001/{n:06d}" for n in range(96)]
        vectors = np.random.default_rng(seed).normal(size=(8, DIMS)).repeat(12, axis=0)
        vectors += (0.1 if learnable else 9) * np.random.default_rng(seed + 1).normal(size=vectors.shape)
        write_track_embeddings(folder / f"{dataset}.parquet", frames, vectors, steps=STEPS)
    return {"embeddings": folder, "faces": root / "faces", "splits": root / "splits" / "faces"}


def write_checkpoint(root: Path, steps: int, *, noise: float, method: str = "fabnet-0") -> None:
    """Embeddings of w300 by an earlier encoder: those of `write_tree` with noise of that size."""
    folder = root / "embeddings" / method
    table = tables.read(folder / "w300.parquet", tables.EMBEDDINGS)
    x = np.stack(table["embedding"].to_numpy())
    x = x + noise * np.random.default_rng(steps).normal(size=x.shape)
    path = folder / "checkpoints" / f"{steps:08d}" / "w300.parquet"
    write_embeddings(path, table["sample_id"].to_pylist(), x, steps=steps)


def write_embeddings(path: Path, ids: Sequence[str], x: np.ndarray, *, steps: int) -> None:
    rows = [{"sample_id": i, "embedding": v} for i, v in zip(ids, x.astype(np.float32), strict=True)]
    tables.write(path, tables.EMBEDDINGS, rows, key=["sample_id"], metadata={tables.STEPS: str(steps)})


def write_track_embeddings(path: Path, ids: Sequence[str], x: np.ndarray, *, steps: int) -> None:
    """Each of `ids` begins with identity and video."""
    rows = [
        {"sample_id": i, "identity_id": i.split("/")[0], "video_id": i.split("/")[1], "embedding": v}
        for i, v in zip(ids, x.astype(np.float32), strict=True)
    ]
    tables.write(path, tables.TRACK_EMBEDDINGS, rows, key=["sample_id"], metadata={tables.STEPS: str(steps)})


def _ids() -> list[str]:
    return [f"{split}/{number:04d}" for split, count in COUNTS.items() for number in range(count)]


def _write_dataset(root: Path, dataset: str, kinds: dict[str, pa.DataType], labels: dict[str, list[Any]]) -> None:
    packed = {"shard": "00000.tar", "offset": 0, "size": 1, "sha256": "", "width_px": 256, "height_px": 256}
    rows: list[dict[str, Any]] = []
    splits: list[dict[str, Any]] = []
    for number, sample_id in enumerate(_ids()):
        split = sample_id.split("/")[0]
        subset = ("common", "challenging")[number % 4 == 0] if split == "test" and dataset == "w300" else ""
        values = {name: column[number] for name, column in labels.items()}
        crop = [10.0, 20.0, 10.0 + 512, 20.0 + 256]  # stored at half its width
        rows.append(
            {"sample_id": sample_id, "owner_split": split, "subset": subset, "crop_xyxy_px": crop, **packed, **values}
        )
        splits.append({"sample_id": sample_id, "group_id": sample_id, "split": split})
    tables.write(root / "faces" / dataset / "index.parquet", tables.faces_schema(kinds), rows, key=["sample_id"])
    tables.write(root / "splits" / "faces" / f"{dataset}.parquet", tables.SPLITS, splits, key=["sample_id"])
