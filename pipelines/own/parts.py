"""Parts of an unfinished table: rows, what was lost among them, and behind which shot they end."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stages.runtime import files, tables

PLACE = ("place", pa.int32())  # of the source among all: what rows are sorted by, left out of the joined table


class Lost(NamedTuple):
    source: str
    kind: str
    detail: str = ""


class Mark(NamedTuple):
    """The last shot of a part."""

    place: int = 0
    frame: int = -1


def finished(folder: Path) -> list[Path]:
    """The parts in the folder from the first one on, in their order; those behind a gap do not count."""
    found = sorted(folder.glob("[0-9]*.parquet"))
    return [path for number, path in enumerate(found) if int(path.stem) == number]


def write(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]], lost: Sequence[Lost], mark: Mark) -> None:
    """Write one part; it appears whole or not at all."""
    metadata = {"lost": json.dumps(lost), "mark": json.dumps(mark)}
    tables.write(path, pa.schema([PLACE, *schema]), rows, key=["place", "frame", "face"], metadata=metadata)


def mark(path: Path) -> Mark:
    """Behind which shot the part ends."""
    return Mark(*_told(path, "mark"))


def lost(paths: Iterable[Path]) -> list[Lost]:
    """What was lost in all parts."""
    return [Lost(*entry) for path in paths for entry in _told(path, "lost")]


def join(paths: Iterable[Path], out: Path, schema: pa.Schema) -> None:
    """Write the table whole or not at all, with its metadata and one row group for each part that has rows."""
    with files.whole(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for path in paths:
            table = pq.read_table(path, columns=schema.names)
            if table.num_rows:
                writer.write_table(table.replace_schema_metadata(schema.metadata))


def _told(path: Path, key: str) -> Any:
    return json.loads(pq.read_schema(path).metadata[key.encode()])
