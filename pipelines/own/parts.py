"""Parts of an unfinished table: rows, rejects, first frames of shots, and the last frame that they cover."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.own import outputs
from stages.runtime import csv_tables, files, tables

SOURCE_NUMBER = ("source_number", pa.int32())  # rows are sorted by it; the joined table does not have it


class Reject(NamedTuple):
    source: str
    kind: str
    detail: str = ""


class Mark(NamedTuple):
    """A frame of a source."""

    source_number: int = 0
    frame: int = -1


def finished(folder: Path) -> list[Path]:
    """The consecutive parts in the folder, from the first one."""
    paths = sorted(folder.glob("[0-9]*.parquet"))
    return [path for number, path in enumerate(paths) if int(path.stem) == number]


class Part(NamedTuple):
    """What a part holds besides its rows."""

    rejects: Sequence[Reject]
    cuts: Sequence[Mark]  # the first frame of every shot but the first of a video
    mark: Mark  # the last frame


def write(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]], part: Part) -> None:
    """Write one part; it appears whole or not at all."""
    metadata = {name: json.dumps(value) for name, value in part._asdict().items()}
    tables.write(
        path, pa.schema([SOURCE_NUMBER, *schema]), rows, key=["source_number", "frame", "face"], metadata=metadata
    )


def mark(path: Path) -> Mark:
    """The last frame that the part covers."""
    return Mark(*_metadata(path, "mark"))


def rejects(paths: Iterable[Path]) -> list[Reject]:
    """The rejects of all parts."""
    return [Reject(*entry) for path in paths for entry in _metadata(path, "rejects")]


def cuts(path: Path) -> list[Mark]:
    """The first frames of shots in the part."""
    return [Mark(*entry) for entry in _metadata(path, "cuts")]


def join(paths: Iterable[Path], out: Path, schema: pa.Schema) -> None:
    """Write the table whole or not at all, as CSV or as Parquet, where each part that has rows becomes a row group."""
    tables_of_parts = (pq.read_table(path, columns=schema.names) for path in paths)
    if outputs.is_csv(out):
        csv_tables.write(out, tables_of_parts, schema)
        return
    with files.whole(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for table in tables_of_parts:
            if table.num_rows:
                writer.write_table(table.replace_schema_metadata(schema.metadata))


def _metadata(path: Path, key: str) -> Any:
    return json.loads(pq.read_schema(path).metadata[key.encode()])
