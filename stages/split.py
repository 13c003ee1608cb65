"""Training, validation and test splits: tracks by identity, faces as their owners published them or by group.

Reads: the indices of all track and face data sets. Writes: one SPLITS table per data set, of still images also the
test images that training or validation holds as well (tables.COPIES), rejects (none).

Still images whose owner gives no groups are grouped by what they show: near copies, such as frames of one scene, stay
together, so that validation does not repeat the training split. The owner's own splits and groups are kept even where
they divide near copies: test images that training or validation holds as well are counted and named.

A split follows from a digest of (seed, identity) or (seed, group) alone. So it does not depend on the order of rows,
stays when rows are added that are no near copies, and an identity that two data sets share is in one split. Shares hold
in expectation: a small data set can leave a split empty, which is an error that says what to do. Face tracks of three
or more identities leave none empty: shares are moved until each split holds one identity.
"""

import hashlib
import logging
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.faces import divided, near_copies
from stages.faces.near_copies import Pairs
from stages.runtime import command, outputs, tables
from stages.runtime.errors import UserError
from stages.runtime.params import FaceSplitParams, SplitParams

log = logging.getLogger(__name__)

FRAMES = tables.columns(tables.TRACK_FRAMES, ["sample_id", "identity_id"])
FACES = tables.columns(tables.FACES, ["sample_id", "group_id", "owner_split", "near_copy_digest", "sha256"])


def run(
    *,
    tracks: Path,
    faces: Path,
    track_splits: Path,
    face_splits: Path,
    seed: int,
    track_sets: list[str],
    face_sets: list[str],
    split: SplitParams,
) -> None:
    """Assign every indexed frame and face to a split.

    Raises:
        UserError: an index is missing, or a split would be empty.
    """
    indices = {name: _index(tracks, name, FRAMES) for name in sorted(track_sets)}
    identities = {name for index in indices.values() for name in index["identity_id"].unique().to_pylist()}
    shares = fitting(split, identities, seed=seed)
    of_tracks = {name: split_tracks(index, shares, seed=seed) for name, index in indices.items()}
    of_faces: dict[str, pa.Table] = {}
    copies: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(face_sets):
        index = _index(faces, name, FACES).sort_by("sample_id")
        near = near_pairs(index)
        of_faces[name] = split_faces(with_near_copies(index, near), split.faces[name], seed=seed)
        copies[name] = divided.copies(name, index, _split_of(of_faces[name]), near)
    groups = {name: _groups(table) for name, table in (of_tracks | of_faces).items()}
    _check_splits("the face tracks", [groups[name] for name in of_tracks], "split.track_val, split.track_test")
    for name in of_faces:
        _check_splits(name, [groups[name]], f"split.faces.{name}")
    with outputs.replaced(track_splits) as whole_tracks, outputs.replaced(face_splits) as whole_faces:
        _write(whole_tracks, of_tracks)
        _write(whole_faces, of_faces)
        rows = [row for of_name in copies.values() for row in of_name]
        tables.write(whole_faces / "copies.parquet", tables.COPIES, rows, key=["dataset", "sample_id"])
    for name, of_name in groups.items():
        _tell(name, of_name)
        if copies.get(name):
            tested = len(of_faces[name].filter(pc.field("split") == "test"))
            log.warning("warning: split %s: %s", name, divided.sentence(copies[name], tested))


def _write(folder: Path, splits: Mapping[str, pa.Table]) -> None:
    for name, table in splits.items():
        tables.write(folder / f"{name}.parquet", tables.SPLITS, table, key=["sample_id"])
    tables.Rejects("split").write(folder / "rejects.parquet")


def fitting(split: SplitParams, identities: Collection[str], *, seed: int) -> SplitParams:
    """The shares, moved where a split of the tracks would have no identity although there are three or more."""
    at = sorted(position(seed, name) for name in identities)
    test, end = split.track_test, split.track_test + split.track_val
    if len(at) >= len(tables.SPLIT_NAMES):
        test = _moved(test, at, least=1, most=len(at) - 2)
        end = _moved(end, at, least=bisect_left(at, test) + 1, most=len(at) - 1)
    return split.model_copy(update={"track_test": test, "track_val": end - test})


def _moved(bound: float, at: Sequence[float], *, least: int, most: int) -> float:
    """The bound if from `least` to `most` of the positions lie below it, else the nearest one of which that is true."""
    below = bisect_left(at, bound)
    kept = min(max(below, least), most)
    return bound if kept == below else (at[kept - 1] + at[kept]) / 2


def split_tracks(index: pa.Table, split: SplitParams, *, seed: int) -> pa.Table:
    """SPLITS of a TRACK_FRAMES index: whole identities, which are the groups."""
    identities = index["identity_id"].combine_chunks().dictionary_encode()
    split_of = [_track_split(position(seed, name), split) for name in identities.dictionary.to_pylist()]
    splits = pa.array(split_of, pa.string()).take(identities.indices)
    return _splits(index["sample_id"], index["identity_id"], splits)


def split_faces(index: pa.Table, shares: FaceSplitParams, *, seed: int) -> pa.Table:
    """SPLITS of a FACES index: the owner's splits, with a share of the training split as validation.

    Where the owner has a validation split, that one is taken as well. Where the owner has no splits, a share of the
    groups is the test split and a share of the others validation.

    Raises:
        UserError: a share for a test split that the owner has already.
    """
    splits = index["owner_split"].to_pylist()
    if shares.test and "test" in splits:
        raise UserError(
            f"split.faces: a test share of {shares.test:g} for a data set that has a test split, set it to 0"
        )
    groups = index["group_id"].to_pylist()
    assigned = [_face_split(split, position(seed, group), shares) for split, group in zip(splits, groups, strict=True)]
    return _splits(index["sample_id"], groups, assigned)


def near_pairs(index: pa.Table) -> Pairs:
    """Near copies in a FACES index, as its rows."""
    digests = index["near_copy_digest"].to_pylist()
    rows = np.array([row for row, digest in enumerate(digests) if digest is not None], np.int64)
    if not len(rows):
        return near_copies.pairs(np.empty((0, near_copies.BITS // 8), np.uint8))
    found = near_copies.pairs(np.stack([np.frombuffer(digests[row], np.uint8) for row in rows]))
    return Pairs(rows[found.one], rows[found.other], found.bits)


def with_near_copies(index: pa.Table, near: Pairs) -> pa.Table:
    """The FACES index, sorted by `sample_id`, with `near` copies in one group, which is named after the first of them.

    Only images whose owner gives no group are put together: those that are a group of their own.
    """
    ids, group_ids = index["sample_id"].to_pylist(), index["group_id"].to_pylist()
    is_alone = np.array([name == group for name, group in zip(ids, group_ids, strict=True)], np.bool_)
    first = near_copies.groups(near[is_alone[near.one] & is_alone[near.other]], len(ids))
    for row in np.flatnonzero(is_alone).tolist():
        group_ids[row] = ids[first[row]]
    place = index.column_names.index("group_id")
    return index.set_column(place, "group_id", pa.array(group_ids, pa.string()))


def position(seed: int, name: str) -> float:
    """Where a name stands between 0 and 1, evenly spread and the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _track_split(at: float, split: SplitParams) -> str:
    if at < split.track_test:
        return "test"
    return "val" if at < split.track_test + split.track_val else "train"


def _face_split(split: str, at: float, shares: FaceSplitParams) -> str:
    if split in ("val", "test"):
        return split
    if at < shares.test:
        return "test"
    return "val" if at < shares.test + shares.val * (1 - shares.test) else "train"


def _splits(names: Any, groups: Any, splits: Any) -> pa.Table:
    return pa.table({"sample_id": names, "group_id": groups, "split": splits}, schema=tables.SPLITS)


def _index(folder: Path, name: str, columns: pa.Schema) -> pa.Table:
    return tables.read(folder / name / "index.parquet", columns)


def _split_of(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def _groups(table: pa.Table) -> pa.Table:
    """Every group with its split and its number of rows."""
    return table.group_by(["group_id", "split"]).aggregate([([], "count_all")])


def _check_splits(what: str, groups: Sequence[pa.Table], shares: str) -> None:
    counted = pa.concat_tables(groups)
    for split in tables.SPLIT_NAMES:
        if split not in counted["split"].unique().to_pylist():
            raise UserError(
                f"the {split} split of {what} is empty, with {len(counted['group_id'].unique())} groups to divide: "
                f"expected at least one, use a larger release, raise {shares} or choose another seed in params.yaml"
            )


def _tell(name: str, groups: pa.Table) -> None:
    of_split = groups.group_by("split").aggregate([("count_all", "sum"), ([], "count_all")]).to_pylist()
    counts = {row["split"]: f"{row['count_all_sum']} ({row['count_all']} groups)" for row in of_split}
    log.info(
        "split %s: %s, 0 rejects",
        name,
        ", ".join(f"{split} {counts.get(split, '0 (0 groups)')}" for split in tables.SPLIT_NAMES),
    )


if __name__ == "__main__":
    command.main(run, __doc__)
