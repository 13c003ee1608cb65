"""Parquet tables with explicit Arrow schemas: checked, sorted by key, written whole or not at all."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.runtime import files
from stages.runtime.errors import UserError

# In the metadata of every table. Raise it when a column is renamed or removed, or changes its type, unit or meaning.
# 2: `split` instead of `part`, `kind` and `detail` instead of `reason`, `code_hash` instead of `code_rev`.
SCHEMA_VERSION = "2"
VERSION = "schema_version"
# What Arrow raises on damaged files: its own exceptions, and Python's.
UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError)
SPLIT_NAMES = ("train", "val", "test")
STEPS = "steps"  # in the metadata of EMBEDDINGS: how many steps their encoder was trained for
PARTS = "parts"  # there too, if there are any: start and end of the named parts of each embedding, as JSON

REJECTS = pa.schema([
    ("dataset", pa.string()),
    ("key", pa.string()),
    ("stage", pa.string()),
    ("kind", pa.string()),  # a short fixed phrase such as "no face detected"
    ("detail", pa.string()),  # may be empty
])  # fmt: skip

# The place of one JPEG: `size` bytes from `offset` of the tar file `shard`.
_PACKED = [
    ("shard", pa.string()),
    ("offset", pa.int64()),
    ("size", pa.int64()),
    ("sha256", pa.string()),
    ("width_px", pa.int32()),
    ("height_px", pa.int32()),
]

TRACK_FRAMES = pa.schema([
    ("sample_id", pa.string()),  # identity_id/video_id/track_id/frame
    ("identity_id", pa.string()),
    ("video_id", pa.string()),
    ("track_id", pa.string()),  # unique within the data set: identity_id/video_id/track
    ("frame", pa.int32()),  # frame number in the source at 25 fps
    *_PACKED,
])  # fmt: skip

# One still image, cut to the face. Label columns of the data set follow (see `faces_schema`).
FACES = pa.schema([
    ("sample_id", pa.string()),
    ("group_id", pa.string()),  # faces of one group stay in one split; mostly the sample itself
    ("owner_split", pa.string()),  # train, val or test; empty where the owner has none
    ("subset", pa.string()),  # the owner's name for a subset of the split
    ("crop_xyxy_px", pa.list_(pa.float32(), 4)),  # the crop in the source image, may leave it
    ("near_copy_digest", pa.binary()),  # of the crop: near copies differ in few bits, see faces/near_copies.py
    *_PACKED,
])  # fmt: skip

# What `detect` adds to the index: which pass of the detector found the face, and how sure it was.
DETECTION = pa.schema([("detector_score", pa.float32()), ("upsample", pa.int8())])

# One pass of the detector: images in which no earlier pass found a face, and faces found in them.
YIELDS = pa.schema(
    [("owner_split", pa.string()), ("upsample", pa.int8()), ("images", pa.int64()), ("detected", pa.int64())]
)

# How faces sit in the crops of one data set, or of all track data sets together (`all`): medians and quartiles.
# The unit is the side of what a network sees. Null where no face was found.
_SPREAD = ("face_frac", "x_frac", "y_frac")  # side of the detected box, and where its centre lies
FRAMING = pa.schema([
    ("kind", pa.string()),  # face tracks or still images
    ("dataset", pa.string()),
    ("n", pa.int64()),  # sampled crops with a face
    ("missed", pa.int64()),  # and those without one
    *((f"{name}{end}", pa.float64()) for name in _SPREAD for end in ("", "_q1", "_q3")),
    ("difference", pa.float64()),  # of the median of face_frac from that of all training tracks, as a share of that
    ("is_apart", pa.bool_()),  # still images whose faces are so much larger or smaller that a warning is due
])  # fmt: skip

# `group_id`: that of the index; near copies of which the owner gives no group are one group.
SPLITS = pa.schema([("sample_id", pa.string()), ("group_id", pa.string()), ("split", pa.string())])

# A test image that the training or the validation split holds as well, and its nearest copy there.
COPIES = pa.schema([
    ("dataset", pa.string()),
    ("sample_id", pa.string()),
    ("copy_of", pa.string()),
    ("copy_split", pa.string()),
    ("bits", pa.int32()),  # in which their near-copy digests differ
    ("is_same", pa.bool_()),  # the same bytes
])  # fmt: skip

# One training: losses of every epoch, and what `fabnet.training.health` measures at checkpoints.
HISTORY = pa.schema([
    ("epoch", pa.int32()),
    ("step", pa.int64()),
    ("split", pa.string()),
    ("metric", pa.string()),
    ("value", pa.float64()),
])  # fmt: skip

EMBEDDINGS = pa.schema([("sample_id", pa.string()), ("embedding", pa.list_(pa.float32()))])

# Embeddings of frames of tracks.
TRACK_EMBEDDINGS = pa.schema([*EMBEDDINGS, ("identity_id", pa.string()), ("video_id", pa.string())])

# One test image of one task, or one identity of the task `identity_leakage`: what is true and what the probe said,
# in the units of the report.
PREDICTIONS = pa.schema([
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("sample_id", pa.string()),
    ("group_id", pa.string()),  # as in SPLITS; of the task `identity_leakage` the identity
    ("subset", pa.string()),
    ("truth", pa.list_(pa.float32())),
    ("prediction", pa.list_(pa.float32())),
])  # fmt: skip

# The sweep of one probe: what came of every L2 regularisation.
SWEEPS = pa.schema([
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("l2", pa.float64()),
    ("val_loss", pa.float64()),
    ("iterations", pa.int32()),  # Newton steps
    ("is_converged", pa.bool_()),  # false: `probe.max_iter` steps were not enough
    ("is_chosen", pa.bool_()),
    ("edge", pa.string()),  # smallest or largest: it is chosen, and a wider sweep may be better; else empty
])  # fmt: skip

# Learning curves: the headline metric of every followed task on the validation split, for the encoder as it was after
# each number of steps; the last one is the encoder that is used, and an untrained one has step 0 alone.
LEARNING_CURVES = pa.schema([
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("metric", pa.string()),
    ("step", pa.int64()),
    ("value", pa.float64()),
    ("ci_low", pa.float64()),  # of the bootstrap over validation images: it does not cover that L2 was chosen on them
    ("ci_high", pa.float64()),
    ("n", pa.int64()),  # validation images that the value is over
    ("groups", pa.int64()),  # that these images belong to
    ("is_converged", pa.bool_()),  # false: the probe needs more than `probe.max_iter` steps; null: it has no head
])  # fmt: skip

# A probe that was fitted to a few training images, on the whole test split; see evaluation/few_shot.py.
FEW_SHOT = pa.schema([
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("metric", pa.string()),
    ("better", pa.string()),  # higher or lower
    ("shots", pa.int32()),  # training images of each class, or in all
    ("draw", pa.int32()),
    ("images", pa.int64()),  # training images that were drawn
    ("value", pa.float64()),
    ("is_converged", pa.bool_()),  # as in LEARNING_CURVES
])  # fmt: skip

# Few-shot probes of one method: mean over draws and seeds, with the interval of the mean over draws.
FEW_SHOT_MEANS = pa.schema([
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("method", pa.string()),
    ("metric", pa.string()),
    ("better", pa.string()),
    ("shots", pa.int32()),
    ("images", pa.float64()),  # training images of a draw, mean
    ("draws", pa.int64()),
    ("value", pa.float64()),
    ("ci_low", pa.float64()),
    ("ci_high", pa.float64()),
    ("config_hash", pa.string()),
    ("code_hash", pa.string()),
])  # fmt: skip

# A value of one metric.
_ESTIMATE = [
    ("metric", pa.string()),
    ("better", pa.string()),  # higher or lower
    ("value", pa.float64()),
    ("ci_low", pa.float64()),
    ("ci_high", pa.float64()),
    ("n", pa.int64()),  # images that the value is over; identities of the task `identity_leakage`
    ("groups", pa.int64()),  # that these images belong to: what the bootstrap draws
]

# Where it was measured on the test split, and the estimate.
_MEASURED = [
    ("split", pa.string()),  # test, or test/<subset>
    ("target", pa.string()),  # a class, an angle, a region, or mean
    *_ESTIMATE,
    ("positives", pa.int64()),  # of the n images, those of the class; null but for AUC and F1 of a class
]

# Scores of one method and seed; `report` adds where they come from and makes METRICS of them.
SCORES = pa.schema([("dataset", pa.string()), ("task", pa.string()), *_MEASURED])

# Scores of one named part of the embedding by itself, for methods that name parts.
PART_SCORES = pa.schema([
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("part", pa.string()),
    *_MEASURED,
    ("is_converged", pa.bool_()),  # as in LEARNING_CURVES
])  # fmt: skip

# The headline metric of one part minus that of another part, on the same test images, with the interval of the paired
# bootstrap.
PART_DIFFERENCES = pa.schema([
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("part", pa.string()),
    ("other", pa.string()),
    *_ESTIMATE,  # `better`: of the metric; with `lower`, a difference below 0 is better for `part`
])  # fmt: skip

METRICS = pa.schema([
    ("profile", pa.string()),
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("method", pa.string()),
    ("seed", pa.int32()),  # null: pooled over all seeds
    *_MEASURED,
    ("published", pa.float64()),
    ("config_hash", pa.string()),
    ("code_hash", pa.string()),
])  # fmt: skip

# One metric of one task on test images that were cut again; a shift is averaged over its directions.
_SENSITIVITY = [
    ("scale", pa.float64()),  # of the sides of the crop's box, around its centre
    ("shift", pa.float64()),  # of the box, as a share of its sides
    *_ESTIMATE,
    ("change", pa.float64()),  # the value minus that at scale 1 and shift 0, with the interval of the paired bootstrap
    ("change_ci_low", pa.float64()),
    ("change_ci_high", pa.float64()),
]

# Of one method and seed; `report` adds where they come from and makes CROP_SENSITIVITY of them.
SENSITIVITY = pa.schema([("dataset", pa.string()), ("task", pa.string()), *_SENSITIVITY])

CROP_SENSITIVITY = pa.schema([
    ("profile", pa.string()),
    ("dataset", pa.string()),
    ("task", pa.string()),
    ("method", pa.string()),
    ("seed", pa.int32()),
    *_SENSITIVITY,
    ("config_hash", pa.string()),
    ("code_hash", pa.string()),
])  # fmt: skip

# A method's headline metric of one task minus that of a control, on the same test images, pooled over seeds;
# the interval is that of the paired bootstrap.
DIFFERENCES = pa.schema([
    ("method", pa.string()),
    ("control", pa.string()),
    ("dataset", pa.string()),
    ("task", pa.string()),
    *_ESTIMATE,  # `better`: of the metric; with `lower`, a difference below 0 is better
    ("config_hash", pa.string()),
    ("code_hash", pa.string()),
])  # fmt: skip


def further(side_px: int) -> pa.Schema:
    """Columns of FACES: where in its shard an image lies that was cut out at another side."""
    return pa.schema([(f"offset_{side_px}", pa.int64()), (f"size_{side_px}", pa.int64())])


def faces_schema(labels: Mapping[str, pa.DataType], more: Iterable[pa.Field] = ()) -> pa.Schema:
    """FACES with the label columns of one data set, and `more` columns."""
    return pa.schema([*FACES, *(pa.field(name, kind) for name, kind in sorted(labels.items())), *more])


def columns(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """Some columns of a schema, so that `read` leaves the others on the disk."""
    return pa.schema([schema.field(name) for name in names])


def write(
    path: Path,
    schema: pa.Schema,
    rows: Iterable[Mapping[str, Any]] | pa.Table,
    *,
    key: Sequence[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `rows` sorted by `key`; the file appears whole under `path` or not at all.

    Raises:
        ValueError: two rows share a key, or a value does not fit the schema.
    """
    table: Any = (
        rows if isinstance(rows, pa.Table) else pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    )
    table = table.select(schema.names).cast(schema)
    if not _is_ascending(table, key):
        table = table.sort_by([(name, "ascending") for name in key])
        if table.group_by(list(key)).aggregate([]).num_rows != table.num_rows:
            raise ValueError(f"{path.name}: {', '.join(key)} should be unique, found repeated keys")
    # One chunk a column: where chunks end shows in the bytes of the file.
    table = table.combine_chunks().replace_schema_metadata({VERSION: SCHEMA_VERSION, **(metadata or {})})
    with files.whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def _is_ascending(table: Any, key: Sequence[str]) -> bool:
    """Whether a table with a key of one column is sorted by it without repetitions, which spares millions of rows."""
    if len(key) != 1:
        return False
    column = table[key[0]]
    ascends = pc.call_function("less", [column[:-1], column[1:]])
    return column.null_count == 0 and False not in ascends.unique().to_pylist()


def read(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """The table at `path`; with a schema, its columns, which must be there with those types, and no others are read.

    Raises:
        UserError: no such file, not Parquet, damaged, another schema version, or other columns than expected.
        OSError: the disk fails.
    """
    try:
        _check(path, pq.read_schema(path), schema)
        table = pq.read_table(path, columns=schema.names if schema else None)
        table.validate(full=True)  # else a text with a flipped bit is found only where a cell is looked at
        return table
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` to make it") from None
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in files.DISK_FAILS:
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
        raise UserError(
            f"{path} is not a readable Parquet file ({' '.join(str(error).split())}): restore it by `dvc checkout`, or "
            "run `dvc repro --force` for the stage that writes it"
        ) from None


def _check(path: Path, found: pa.Schema, schema: pa.Schema | None) -> None:
    version = (found.metadata or {}).get(VERSION.encode(), b"none").decode(errors="replace")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} should have schema version {SCHEMA_VERSION}, found {version}: run `dvc repro --force` for the "
            "stage that writes it"
        )
    for field in schema or ():
        if field.name not in found.names or found.field(field.name).type != field.type:
            raise UserError(
                f"{path} should have a column {field.name} of type {field.type}: run `dvc repro --force` for the stage "
                "that writes it"
            )


def runs(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and length of every run of equal values; `group_by` gives groups in no certain order."""
    changes = pc.call_function("not_equal", [column[1:], column[:-1]])
    first = np.flatnonzero(np.append(len(column) > 0, changes))
    return first, np.diff(first, append=len(column))


class Rejects:
    """The items that a stage cannot use; equal rows are kept once."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._rows: dict[tuple[str, ...], dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> list[dict[str, str]]:
        """Rows of REJECTS in the order in which they were added."""
        return list(self._rows.values())

    def add(self, dataset: str, key: str, kind: str, detail: str = "") -> None:
        """One item that this stage cannot use."""
        self._insert({"dataset": dataset, "key": key, "stage": self._stage, "kind": kind, "detail": detail})

    def include(self, path: Path) -> None:
        """Add the rows of an earlier stage's table.

        Raises:
            UserError: no such table.
        """
        for row in read(path, REJECTS).to_pylist():
            self._insert(row)

    def write(self, path: Path) -> None:
        """Write the table; an empty one says that nothing was lost."""
        write(path, REJECTS, self._rows.values(), key=REJECTS.names)

    def _insert(self, row: dict[str, str]) -> None:
        self._rows[tuple(row[name] for name in REJECTS.names)] = row
