"""Indexes of EmotioNet and AffectNet at their real size and random embeddings, without pixels; always equal bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.indexes import IMAGES, digests, texts
from stages.runtime import plugins, tables

CROP_PX, JPEG_BYTES, SHARD_BYTES = 256, (12_000, 28_000), 2**29
EMBEDDING, KNOWN, PRESENT = 256, 0.9, 0.1  # dimensions; shares of action units that are labelled, and present
TEST = {"affectnet": 4_000, "emotionet": 25_000}  # images of the owners' test lists


def write(folder: Path, share: float, action_units: int) -> None:
    """One FACES table per data set, with that share of its images."""
    for seed, name in enumerate(TEST):
        rng = np.random.default_rng(seed)
        count, tested = (round(share * number) for number in (IMAGES[name], TEST[name]))
        names = texts(np.arange(count), f"{name}/", 7)
        size = rng.integers(*JPEG_BYTES, count)
        offset = np.cumsum(1024 + size) - size
        corner = rng.uniform(0, 100, (count, 2))
        labels = plugins.load("stages.datasets", name).LABELS
        schema = tables.faces_schema(labels, tables.DETECTION).with_metadata({tables.VERSION: tables.SCHEMA_VERSION})
        columns = {
            "sample_id": names,
            "group_id": names,
            "owner_split": np.where(np.arange(count) < tested, "test", "train"),
            "subset": np.full(count, ""),
            "crop_xyxy_px": _lists(np.concatenate([corner, corner + 300], axis=1).astype(np.float32)),
            "near_copy_digest": [row.tobytes() for row in rng.integers(0, 256, (count, 32)).astype(np.uint8)],
            "shard": texts(offset // SHARD_BYTES, "", 5),
            "offset": offset % SHARD_BYTES,
            "size": size,
            "sha256": digests(count, rng),
            "width_px": np.full(count, CROP_PX),
            "height_px": np.full(count, CROP_PX),
            "action_units": _units(count, action_units, rng),
            "expression": rng.integers(0, 8, count),
            "detector_score": rng.random(count),
            "upsample": np.zeros(count, np.int8),
        }
        rows = pa.table({name: pa.array(columns[name]).cast(schema.field(name).type) for name in schema.names})
        path = folder / name / "index.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows.cast(schema), path, compression="zstd")


def write_embeddings(folder: Path, faces: Path, count: int) -> None:
    """Random embeddings of about so many EmotioNet images, spread over the whole index."""
    names = pq.read_table(faces / "emotionet" / "index.parquet", columns=["sample_id"])["sample_id"].combine_chunks()
    names = names.take(pa.array(np.arange(0, len(names), max(1, len(names) // count))))
    values = np.random.default_rng(0).standard_normal((len(names), EMBEDDING), np.float32)
    schema = tables.EMBEDDINGS.with_metadata({tables.VERSION: tables.SCHEMA_VERSION, tables.STEPS: "0"})
    rows = pa.table({"sample_id": names, "embedding": _lists(values).cast(schema.field("embedding").type)})
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.cast(schema), folder / "emotionet.parquet", compression="zstd")


def _units(count: int, units: int, rng: np.random.Generator) -> pa.Array:
    """For each image 0, 1 or unknown by unit."""
    present = (rng.random((count, units)) < PRESENT).astype(np.int8)
    values = pa.array(present.ravel(), mask=rng.random(count * units) > KNOWN)
    return pa.FixedSizeListArray.from_arrays(values, units)


def _lists(values: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
