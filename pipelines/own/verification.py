"""Whether a table of faces is still what its files give: they are run through again as its metadata say."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.own import attributes, crops, embed, listed, networks, outputs, provenance, sources, tabulate
from pipelines.own.options import Options
from pipelines.own.provenance import Origin, Source
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.files import file_digest

TOLERANCE = 1e-4  # of a number, in units of the largest of its row if that is above 1
TABLES = {"embed": embed.TABLE, "attributes": attributes.TABLE, "crops": crops.DIGESTS}
KEY = ["source", "frame", "face"]
LEFT_OUT = {*KEY, "file"}  # columns that are not compared

DIFFERENCES = pa.schema([
    ("source", pa.string()),
    ("frame", pa.int32()),
    ("face", pa.int32()),
    ("found", pa.string()),  # here, there or both
    ("column", pa.string()),  # both: the one that differs most
    ("difference", pa.float64()),  # both: in units of the row's largest number if that is above 1; infinite for texts
])  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A table of faces, and the same made again here."""

    name: str  # of the table
    here: int  # faces
    there: int
    rows: pa.Table  # DIFFERENCES, faces that are not the same
    largest: tuple[float, str]  # difference of faces on both sides that is no more than TOLERANCE, and its column
    lost: list[str]  # columns that are in the table alone
    settings: list[str]  # versions that differ, one each
    not_compared: list[str]  # files of the table that were not given

    @property
    def is_same(self) -> bool:
        return not len(self.rows) and not self.lost


def verify(table: Path, files: Sequence[Path], here: Options) -> Comparison:
    """Make a table again from its files, and compare.

    Args:
        table: Parquet, as `fabnet embed`, `attributes` or `crops` wrote it.
        files: its videos and images, wherever they lie here; without any, those that it names.
        here: network, weights of the detector and device, where they are others than those that the table names.

    Raises:
        UserError: it does not say how it was made, or its files, network or weights are not here.
    """
    origin = provenance.read(table)
    if origin.command not in TABLES:
        raise UserError(f"{table} was made by `fabnet {origin.command}`, which this version does not know")
    named = files or [Path(source.name) for source in origin.sources if source.sha256]
    found = _found(table, origin, sources.files(named))
    options = _options(origin.options, here)
    _check_files(table, origin, options)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.parquet"
        made = {"fps": origin.fps, "one_face": origin.one_face, "options": options}
        tabulate.write(TABLES[origin.command], list(found), out=again, **made)
        ours, theirs = pq.read_table(again), provenance.rows(table)
    names = {listed.shown(path): listed.shown(source.name) for path, source in found.items()}
    return _compare(table, origin, _renamed(ours, names), theirs, set(names.values()))


def write(path: Path, found: Comparison) -> None:
    """The differences as a table."""
    tables.write(path, DIFFERENCES, found.rows, key=KEY)


def summary(found: Comparison) -> Iterator[str]:
    """What differs, in a few lines."""
    yield f"{found.name}: {outputs.counted(found.there, 'face')}, made again here: {found.here}"
    alone = {side: found.rows.filter(pc.field("found") == side).num_rows for side in ("here", "there")}
    if any(alone.values()):
        yield f"missing: {outputs.counted(alone['there'], 'face')} here, {alone['here']} there"
    both = found.rows.filter(pc.field("found") == "both")
    if len(both):
        row = max(both.to_pylist(), key=lambda row: row["difference"])
        yield (f"differ: {outputs.counted(len(both), 'face')}, most of all {row['source']} frame {row['frame']} face "
               f"{row['face']}: {row['column']} by {row['difference']:.2g}")  # fmt: skip
    for column in found.lost:
        yield f"column: {column} there, not here"
    for setting in found.settings:
        yield f"setting: {setting}"
    for name in found.not_compared:
        yield f"not compared: {name}"
    if found.is_same:
        largest, column = found.largest
        yield f"every face is the same within {TOLERANCE:g}: at most {largest:.2g} apart, in {column}" if largest else (
            "every face is identical")  # fmt: skip


def _found(table: Path, origin: Origin, paths: Sequence[Path]) -> dict[Path, Source]:
    """The files that are here -> what they are in the table, in its order; equal by digest, by name if several are.

    Raises:
        UserError: a file is none of the table's.
    """
    waiting = list(origin.sources)
    found: dict[Path, Source] = {}
    for path in paths:
        digest = provenance.digest(path)
        same = [source for source in waiting if source.sha256 == digest and digest]
        if not same:
            wanted = next((source.sha256 for source in origin.sources if Path(source.name).name == path.name), None)
            expected = f"sha256 {wanted}" if wanted else f"one of {outputs.counted(len(origin.sources), 'file')}"
            raise UserError(f"{path} is not a file that {table} was made from: expected {expected}, found "
                            f"{f'sha256 {digest}' if digest else 'no such file'}")  # fmt: skip
        source = next((one for one in same if Path(one.name).name == path.name), same[0])
        waiting.remove(source)
        found[path] = source
    return dict(sorted(found.items(), key=lambda pair: origin.sources.index(pair[1])))


def _options(made: Options, here: Options) -> Options:
    """The options of the table, with files where they lie here."""
    options = replace(made, device=here.device, weights=here.weights or made.weights)
    return replace(options, model=here.model, released=here.released) if here.model or here.released else options


def _check_files(table: Path, origin: Origin, options: Options) -> None:
    """Raises UserError where the network or the detector's weights are not those of the table."""
    network = options.released or options.model
    named = [
        ("model_sha256", network, networks.digest, "--released" if options.released else "--model"),
        ("weights_sha256", options.weights, file_digest, "--weights"),
    ]
    for key, path, digest, option in named:
        expected, found = origin.metadata.get(key, ""), digest(path) if path and path.exists() else ""
        if expected != found:
            raise UserError(f"{table} was made with another file than {path}: expected sha256 {expected}, found "
                            f"{found or 'no such file'}; name the right one with {option}")  # fmt: skip


def _renamed(rows: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """The rows with the names that their files have in the table."""
    renamed = pa.array([names[name] for name in rows["source"].to_pylist()], pa.string())
    return rows.set_column(rows.column_names.index("source"), "source", renamed)


def _compare(table: Path, origin: Origin, ours: pa.Table, theirs: pa.Table, compared: set[str]) -> Comparison:
    theirs = theirs.filter(pc.field("source").isin(list(compared)))
    at, there_at = (_places(table, rows) for rows in (ours, theirs))
    both = [key for key in there_at if key in at]
    pairs = [rows.take(pa.array([places[key] for key in both], pa.int64()))
             for rows, places in ((ours, at), (theirs, there_at))]  # fmt: skip
    columns = [name for name in theirs.column_names if name in ours.column_names and name not in LEFT_OUT]
    distances = np.array([_distance(*(rows[name] for rows in pairs)) for name in columns]).reshape(-1, len(both))
    worst = distances.argmax(axis=0) if both else np.zeros(0, int)
    most = distances.max(axis=0, initial=0.0)
    rows = [_row(key, "both", columns[worst[n]], most[n]) for n, key in enumerate(both) if most[n] > TOLERANCE]
    rows += [_row(key, "here") for key in at if key not in there_at]
    rows += [_row(key, "there") for key in there_at if key not in at]
    small = np.where(most <= TOLERANCE, most, 0.0)
    largest = (float(small.max(initial=0.0)), columns[worst[small.argmax()]] if both else "")
    return Comparison(
        str(table), len(ours), len(theirs), pa.Table.from_pylist(rows, DIFFERENCES), largest,
        [name for name in theirs.column_names if name not in ours.column_names and name != "file"],
        list(_settings(origin.metadata, ours.schema.metadata)),
        [listed.shown(source.name) for source in origin.sources if listed.shown(source.name) not in compared],
    )  # fmt: skip


def _places(table: Path, rows: pa.Table) -> dict[tuple[Any, ...], int]:
    """Key of each face -> its row."""
    missing = [name for name in KEY if name not in rows.column_names]
    if missing:
        raise UserError(f"{table} should have a column {missing[0]}: {provenance.EXPECTED}")
    return {tuple(row[name] for name in KEY): number for number, row in enumerate(rows.select(KEY).to_pylist())}


def _row(
    key: tuple[Any, ...], found: str, column: str | None = None, difference: float | None = None
) -> dict[str, Any]:
    return {**dict(zip(KEY, key, strict=True)), "found": found, "column": column, "difference": difference}


def _distance(some: pa.ChunkedArray, others: pa.ChunkedArray) -> NDArray[np.float64]:
    """How far two columns are apart, row by row (N,): 0 where they are equal, infinite where texts differ."""
    one, other = _numbers(some), _numbers(others)
    if one is None or other is None or one.shape != other.shape:
        return np.array([0.0 if a == b else np.inf for a, b in zip(some.to_pylist(), others.to_pylist(), strict=True)])
    is_equal = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        apart = np.where(is_equal, 0.0, np.abs(one - other)).max(axis=1, initial=0.0)
        scale = np.nan_to_num(np.abs(other), posinf=1.0).max(axis=1, initial=1.0)
    return np.where(np.isnan(apart), np.inf, apart / scale)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Floating-point numbers (N, K), NaN where there is none; None for a column of something else."""
    kind, count = column.type, len(column)
    if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type) and not column.null_count:
        flat = column.combine_chunks().flatten()
        return np.asarray(flat.to_numpy(zero_copy_only=False), np.float64).reshape(count, kind.list_size)
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(), np.float64)[:, None]
    return None


def _settings(there: Mapping[str, str], here: Mapping[bytes, bytes]) -> Iterator[str]:
    for name in provenance.VERSIONS:
        ours, theirs = here.get(name.encode(), b"nothing").decode(), there.get(name, "nothing")
        if ours != theirs:
            yield f"{name} {ours} here, {theirs} there"
