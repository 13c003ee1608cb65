"""Tables as CSV, for spreadsheets: the rows of the Parquet table, without its metadata."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from stages.runtime import files

COLUMNS = b"columns"  # in the metadata of a column of lists: what its numbers are called


def write(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write the rows of all tables; the file appears whole under `path` or not at all.

    A column of lists of a fixed size becomes one column for each number, since a cell holds one value:
    `embedding_0`, `embedding_1`, or the names that the metadata of the column give.
    """
    with files.whole(path) as partial:
        pack(partial, tables, schema)


def pack(sink: Path | BinaryIO, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write the rows of all tables, as `write` does, to a file or into memory."""
    with csv.CSVWriter(sink, flat(schema.empty_table()).schema) as writer:
        for table in tables:
            writer.write_table(flat(table.cast(schema)))


def flat(table: pa.Table) -> pa.Table:
    """The table without lists."""
    columns = dict(pair for field in table.schema for pair in _columns(field, table[field.name]))
    return pa.table(columns)


def _columns(field: pa.Field, values: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray]]:
    if not pa.types.is_fixed_size_list(field.type):
        yield field.name, values
        return
    named = (field.metadata or {}).get(COLUMNS, b"").decode().split()
    for number, name in enumerate(named or map(str, range(field.type.list_size))):
        yield f"{field.name}_{name}", pc.call_function("list_element", [values, number])
