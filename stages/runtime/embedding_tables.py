"""Tables of embeddings, whose vectors have the same length and are finite numbers throughout."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.runtime import tables
from stages.runtime.errors import UserError


def read(path: Path, schema: pa.Schema = tables.EMBEDDINGS) -> pa.Table:
    """The table at `path` with the columns of the schema, as `tables.read`.

    Raises:
        UserError: as `tables.read`, or an embedding is missing, of another length or not finite.
    """
    table = tables.read(path, schema)
    if found := problem(table["embedding"], table["sample_id"]):
        raise UserError(f"{path}: {found}: run `dvc repro --force` for the stage that writes it")
    return table


def problem(vectors: pa.ChunkedArray, ids: pa.ChunkedArray) -> str | None:
    """What is wrong with embeddings (N,), in one clause with how many and the first one's name; None if nothing is."""
    kind = vectors.type
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)) or not pa.types.is_floating(kind.value_type):
        return f"all embeddings should be lists of numbers, found {kind}"
    lengths = pc.call_function("list_value_length", [vectors]).fill_null(0).to_numpy()
    if not len(lengths):
        return None
    is_wrong = lengths != np.bincount(lengths).argmax()
    if is_wrong.any() or not lengths[0]:
        return f"all embeddings should have one length, {_named(is_wrong | (lengths == 0), ids)} not"
    values = vectors.combine_chunks().flatten()
    is_finite = np.isfinite(values.to_numpy(zero_copy_only=False)).reshape(len(lengths), -1).all(1)
    return None if is_finite.all() else f"all embeddings should be finite numbers, {_named(~is_finite, ids)} not"


def _named(is_wrong: np.ndarray, ids: pa.ChunkedArray) -> str:
    """`3 of 1,200, the first that of f12.jpg, are`, or `1 of 1,200, that of f12.jpg, is`."""
    first, count = ids[int(np.flatnonzero(is_wrong)[0])].as_py(), int(is_wrong.sum())
    which, verb = ("that", "is") if count == 1 else ("the first that", "are")
    return f"{count:,} of {len(ids):,}, {which} of {first}, {verb}"
