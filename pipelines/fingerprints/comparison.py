"""How the crops of another laboratory differ from those that are here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.fingerprints import perceptual
from pipelines.fingerprints.crops import Crops, perceptual_of
from stages.evaluation import columns
from stages.runtime import tables
from stages.runtime.errors import UserError

Rows = NDArray[np.int64]

DIFFERENCES = pa.schema([
    ("sample_id", pa.string()),
    ("found", pa.string()),  # here, there or both
    ("edge_px", pa.float64()),  # both: largest distance between edges of the boxes; null for tracks
    ("is_other_size", pa.bool_()),  # both: width or height of the crops
    ("bits", pa.int64()),  # both: distance of the perceptual digests, of 64; null if one cannot be decoded
])  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    ours: Crops
    theirs: Crops
    rows: pa.Table  # DIFFERENCES: one for each crop that is not the same on both sides
    shared: int  # crops that are on both sides
    other_frames: int  # tracks on both sides of which other frames were kept

    @property
    def settings(self) -> Iterator[str]:
        """The settings that differ, one each."""
        for name in sorted({*self.ours.settings, *self.theirs.settings}):
            values = [of.settings.get(name, "nothing") for of in (self.ours, self.theirs)]
            if values[0] != values[1]:
                yield f"{name} {values[0]} here, {values[1]} there"


def compare(ours: Crops, theirs: Crops) -> Comparison:
    """Differences between crops that are here and a table of crops of the same data set.

    Of crops with the same digest of their JPEG nothing is read; the others are decoded.
    """
    at = columns.places(theirs.rows["sample_id"], ours.rows["sample_id"])
    there = np.flatnonzero(at.is_valid().to_numpy())
    of_theirs, of_ours = theirs.rows.take(pa.array(there)), ours.rows.take(at.drop_null())
    both = _both(ours, of_ours, of_theirs)
    only_there = theirs.rows.filter(at.is_null())["sample_id"]
    back = columns.places(ours.rows["sample_id"], theirs.rows["sample_id"])
    only_here = ours.rows.filter(back.is_null())["sample_id"]
    rows = pa.concat_tables([_alone(only_here, "here"), _alone(only_there, "there"), both])
    frames = _other_frames(ours.rows.filter(back.is_null()), theirs.rows) | _other_frames(
        theirs.rows.filter(at.is_null()), ours.rows
    )
    return Comparison(ours, theirs, rows.sort_by("sample_id"), len(there), len(frames))


def check_release(ours: Crops, theirs: Crops, path: Path) -> None:
    """Make sure that both were cut from the same files.

    Raises:
        UserError: they were not.
    """
    if ours.release != theirs.release:
        raise UserError(
            f"{path} is of another version of {ours.dataset} (release {theirs.release[:12]}, here "
            f"{ours.release[:12]}): bring the same files, or compare all the same with --other-release"
        )


def write(path: Path, found: Comparison) -> None:
    """The differences as a table."""
    of = {"dataset": found.ours.dataset}
    tables.write(path, DIFFERENCES, found.rows, key=["sample_id"], metadata=of)


def summary(found: Comparison, name: str) -> Iterator[str]:
    """What differs, in a few lines; `name` stands for the other table."""
    here, there = len(found.ours.rows), len(found.theirs.rows)
    yield f"{found.ours.dataset}: {here} crops here, {there} in {name}, {found.shared} on both sides"
    alone = {side: found.rows.filter(pc.field("found") == side) for side in ("here", "there")}
    if any(map(len, alone.values())):
        yield f"missing: {len(alone['there'])} here, {len(alone['here'])} there"
    if found.other_frames:
        yield f"frames: of {found.other_frames} tracks other frames were kept"
    both = found.rows.filter(pc.field("found") == "both")
    yield from _box_lines(both)
    yield from _pixel_lines(both)
    for setting in found.settings:
        yield f"setting: {setting}"
    if not len(found.rows):
        yield "every crop is the same"


def _box_lines(both: pa.Table) -> Iterator[str]:
    edges = both["edge_px"].fill_null(0).to_numpy()
    if moved := int((edges > 0).sum()):
        middle = np.median(edges[edges > 0])
        yield f"boxes: {moved} differ, in the median by {middle:g} px, at most by {edges.max():g} px"
    if other := int(np.count_nonzero(both["is_other_size"].to_numpy())):
        yield f"sizes: {other} differ"


def _pixel_lines(both: pa.Table) -> Iterator[str]:
    if not len(both):
        return
    bits = both["bits"].drop_null().to_numpy()
    far = bits[bits > 0]
    text = f"pixels: {len(both)} differ, {len(bits) - len(far)} of them too little to change the perceptual digest"
    if len(far):
        text += f", {len(far)} by {np.median(far):g} of {perceptual.BITS} bits in the median, {far.max()} at most"
    if unread := len(both) - len(bits):
        text += f"; {unread} cannot be decoded on one side"
    yield text


def _alone(ids: pa.ChunkedArray, side: str) -> pa.Table:
    return pa.Table.from_pydict(
        {"sample_id": ids, "found": pa.repeat(side, len(ids)), **_nothing(len(ids))}, schema=DIFFERENCES
    )


def _nothing(count: int) -> dict[str, Any]:
    return {name: pa.nulls(count, DIFFERENCES.field(name).type) for name in ("edge_px", "is_other_size", "bits")}


def _both(ours: Crops, of_ours: pa.Table, of_theirs: pa.Table) -> pa.Table:
    """A row for each pair of crops (same sample_id, same order) that are not the same file of the same box."""
    edges = _edges(of_ours["crop_xyxy_px"], of_theirs["crop_xyxy_px"])
    other_size = _differs(of_ours, of_theirs, "width_px") | _differs(of_ours, of_theirs, "height_px")
    rows = np.flatnonzero(_differs(of_ours, of_theirs, "sha256") | (np.nan_to_num(edges) > 0) | other_size)
    kept_ours, kept_theirs = (table.take(pa.array(rows)) for table in (of_ours, of_theirs))
    found = {
        "sample_id": kept_ours["sample_id"],
        "found": pa.repeat("both", len(rows)),
        "edge_px": pa.array(edges[rows], from_pandas=True),  # NaN: null
        "is_other_size": pa.array(other_size[rows]),
        "bits": _bits(perceptual_of(ours, kept_ours), kept_theirs["perceptual"]),
    }
    return pa.Table.from_pydict(found, schema=DIFFERENCES)


def _differs(some: pa.Table, others: pa.Table, column: str) -> NDArray[np.bool_]:
    return pc.call_function("not_equal", [some[column], others[column]]).to_numpy()


def _edges(some: pa.ChunkedArray, others: pa.ChunkedArray) -> NDArray[np.float64]:
    """Largest distance between the edges of two boxes (N,); NaN where there are none."""
    found = np.full(len(some), np.nan)
    rows = some.is_valid().to_numpy() & others.is_valid().to_numpy()
    if rows.any():
        one, other = (columns.matrix(boxes.filter(pa.array(rows))) for boxes in (some, others))
        found[rows] = np.abs(one - other).max(axis=1)
    return found


def _bits(some: pa.Array, others: pa.ChunkedArray) -> pa.Array:
    pairs = list(zip(some.to_pylist(), others.to_pylist(), strict=True))
    known = [(one, other) for one, other in pairs if one and other]
    found = iter(perceptual.distances([one for one, _ in known], [other for _, other in known]).tolist())
    return pa.array([next(found) if one and other else None for one, other in pairs], pa.int64())


def _other_frames(alone: pa.Table, others: pa.Table) -> set[str]:
    """Tracks of the crops in `alone` of which the other side has frames too."""
    shared = alone["track_id"].unique().drop_null()
    return set(shared.filter(pc.call_function("is_in", [shared], pc.SetLookupOptions(others["track_id"].unique()))
                             ).to_pylist())  # fmt: skip
