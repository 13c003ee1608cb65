"""Columns of Arrow tables as arrays, without a Python object for each row."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Lists of equal length as (N, D); a view where they lie in one piece."""
    values = column.combine_chunks().flatten().to_numpy()
    return values.reshape(len(column), -1) if len(column) else np.empty((0, 0), np.float32)


def texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """A few different texts, (N,)."""
    coded: Any = column.combine_chunks().dictionary_encode()
    return np.array(coded.dictionary.to_pylist(), np.str_)[coded.indices.to_numpy()]


def codes(*columns: pa.ChunkedArray) -> Rows:
    """Equal numbers (N,) for rows that are equal in all columns."""
    of_row = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        coded: Any = column.combine_chunks().dictionary_encode()
        of_row = of_row * max(1, len(coded.dictionary)) + coded.indices.to_numpy()
    return of_row


def places(wanted: pa.ChunkedArray, among: pa.ChunkedArray) -> pa.ChunkedArray:
    """The row of `among` that holds each wanted value (N,), null where none does."""
    return pc.call_function("index_in", [wanted], pc.SetLookupOptions(value_set=among.combine_chunks()))


def by_length(labels: pa.ChunkedArray) -> Iterator[tuple[Rows, NDArray[Any]]]:
    """Rows and labels that are there: numbers as (N,), lists of each length as (N, L) float64, NaN for a null."""
    rows = np.flatnonzero(labels.is_valid().to_numpy())
    there: Any = labels.drop_null().combine_chunks()
    if not (pa.types.is_list(there.type) or pa.types.is_fixed_size_list(there.type)):
        yield rows, there.to_numpy(zero_copy_only=False)
        return
    lengths = pc.call_function("list_value_length", [there]).to_numpy()
    for length in np.unique(lengths):
        of_length = lengths == length
        values = there.filter(pa.array(of_length)).flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
        yield rows[of_length], values.reshape(of_length.sum(), length)
