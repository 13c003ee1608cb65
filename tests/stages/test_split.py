import random
import re

import numpy as np
import pyarrow as pa
import pytest

from stages import split
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import FaceSplitParams, SplitParams

STILL = FaceSplitParams(val=0.2, test=0.0)
SHARES = SplitParams(track_val=0.15, track_test=0.1, faces={"still": STILL})


def frames(identities: list[str], per_identity: int = 3) -> list[dict]:
    return [{"sample_id": f"{name}/v/1/{k}", "identity_id": name} for name in identities for k in range(per_identity)]


def faces(train: int, test: int) -> list[dict]:
    splits = ["train"] * train + ["test"] * test
    return [{"sample_id": f"f{k}", "group_id": f"f{k}", "owner_split": split} for k, split in enumerate(splits)]


def splits_of(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True))


IDENTITIES = [f"id{k:05d}" for k in range(400)]


def test_no_identity_is_in_two_splits():
    table = split.split_tracks(pa.Table.from_pylist(frames(IDENTITIES)), SHARES, seed=1)
    by_identity: dict[str, set[str]] = {}
    for group, assigned in zip(table["group_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        by_identity.setdefault(group, set()).add(assigned)
    assert set(by_identity) == set(IDENTITIES)
    assert {len(splits) for splits in by_identity.values()} == {1}


def test_shares_hold_in_expectation():
    splits = list(splits_of(split.split_tracks(pa.Table.from_pylist(frames(IDENTITIES, 1)), SHARES, seed=1)).values())
    assert abs(splits.count("val") / 400 - 0.15) < 0.05
    assert abs(splits.count("test") / 400 - 0.1) < 0.05


def test_splits_do_not_depend_on_the_order_of_rows():
    rows = frames(IDENTITIES)
    shuffled = random.Random(0).sample(rows, len(rows))
    one, other = (split.split_tracks(pa.Table.from_pylist(some), SHARES, seed=1) for some in (rows, shuffled))
    assert splits_of(one) == splits_of(other)


def test_splits_stay_when_rows_are_added():
    few = splits_of(split.split_tracks(pa.Table.from_pylist(frames(IDENTITIES[:50])), SHARES, seed=1))
    many = splits_of(split.split_tracks(pa.Table.from_pylist(frames(IDENTITIES, 9)), SHARES, seed=1))
    assert few.items() <= many.items()
    few_faces = splits_of(split.split_faces(pa.Table.from_pylist(faces(50, 0)), STILL, seed=1))
    many_faces = splits_of(split.split_faces(pa.Table.from_pylist(faces(400, 0)), STILL, seed=1))
    assert few_faces.items() <= many_faces.items()


def test_another_seed_gives_another_split():
    table = pa.Table.from_pylist(frames(IDENTITIES))
    assert splits_of(split.split_tracks(table, SHARES, seed=1)) != splits_of(split.split_tracks(table, SHARES, seed=2))


def test_the_owners_test_split_stays_and_validation_comes_from_training():
    table = splits_of(split.split_faces(pa.Table.from_pylist(faces(300, 100)), STILL, seed=1))
    assert {table[f"f{k}"] for k in range(300, 400)} == {"test"}
    training = [table[f"f{k}"] for k in range(300)]
    assert set(training) == {"train", "val"}
    assert abs(training.count("val") / 300 - 0.2) < 0.06


def ungrouped(images: int) -> pa.Table:
    """Faces of a data set whose owner has no splits, two in every third image."""
    rows = [
        {"sample_id": f"p{k}/{face}", "group_id": f"p{k}", "owner_split": ""}
        for k in range(images)
        for face in range(2 if k % 3 == 0 else 1)
    ]
    return pa.Table.from_pylist(rows)


def test_without_the_owners_splits_whole_groups_are_dealt():
    table = split.split_faces(ungrouped(600), FaceSplitParams(val=0.2, test=0.25), seed=1)
    by_group: dict[str, set[str]] = {}
    for group, assigned in zip(table["group_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        by_group.setdefault(group, set()).add(assigned)
    assert {len(splits) for splits in by_group.values()} == {1}
    splits = [split for (split,) in by_group.values()]
    assert abs(splits.count("test") / 600 - 0.25) < 0.05
    assert abs(splits.count("val") / 600 - 0.2 * 0.75) < 0.05


def test_a_test_share_beside_the_owners_test_split_is_refused():
    with pytest.raises(UserError, match="has a test split, set it to 0"):
        split.split_faces(pa.Table.from_pylist(faces(10, 2)), FaceSplitParams(val=0.2, test=0.1), seed=1)


def digests(pictures: int, copies: int) -> list[bytes]:
    """So many near copies of each picture, which differ in two bits."""
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2, (pictures, 256)).repeat(copies, axis=0)
    codes[np.arange(len(codes)), rng.integers(0, 256, len(codes))] ^= 1
    return [row.tobytes() for row in np.packbits(codes.astype(np.uint8), axis=1)]


def with_digests(rows: list[dict], copies: int) -> pa.Table:
    found = digests(len(rows) // copies, copies)
    return pa.Table.from_pylist([row | {"near_copy_digest": digest} for row, digest in zip(rows, found, strict=True)])


def grouped(index: pa.Table) -> pa.Table:
    index = index.sort_by("sample_id")
    return split.with_near_copies(index, split.near_pairs(index))


def test_near_copies_never_land_in_different_splits():
    table = split.split_faces(grouped(with_digests(faces(300, 0), 3)), STILL, seed=1)
    assert len(set(table["group_id"].to_pylist())) == 100
    of = splits_of(table)
    assert all(of[f"f{k}"] == of[f"f{k + 1}"] == of[f"f{k + 2}"] for k in range(0, 300, 3))
    assert abs(list(of.values()).count("val") / 300 - STILL.val) < 0.1


def test_near_copies_leave_the_splits_and_the_groups_of_the_owner_as_they_are(tmp_path, caplog):
    rows = faces(99, 99)
    table = with_digests(rows, 198)  # all of them alike
    assigned = splits_of(split.split_faces(grouped(table), STILL, seed=1))
    assert {assigned[f"f{k}"] for k in range(99, 198)} == {"test"}
    assert len({assigned[f"f{k}"] for k in range(99)}) == 1
    owned = table.set_column(1, "group_id", pa.array([f"g{k // 2}" for k in range(198)])).sort_by("sample_id")
    assert grouped(owned)["group_id"].equals(owned["group_id"])


def copies_in(tmp_path) -> list[dict]:
    return tables.read(tmp_path / "splits" / "faces" / "copies.parquet", tables.COPIES).to_pylist()


def with_copies(copied: dict[str, str]) -> list[dict]:
    """Training images f0 to f99 and test images f100 to f109, all different but for near copies of others by name."""
    rows = {row["sample_id"]: row for row in with_digests(faces(100, 10), 1).to_pylist()}
    for number, row in enumerate(rows.values()):
        row["sha256"] = f"{number:064x}"
    for name, of in copied.items():
        near = bytes([rows[of]["near_copy_digest"][0] ^ 0b111, *rows[of]["near_copy_digest"][1:]])
        rows[name]["near_copy_digest"] = near
    return list(rows.values())


def test_test_images_that_training_holds_as_well_are_told_and_counted(tmp_path, caplog):
    rows = with_copies({"f100": "f3", "f104": "f5", "f105": "f104"})
    same = next(row for row in rows if row["sample_id"] == "f3")
    rows[107] |= {"near_copy_digest": same["near_copy_digest"], "sha256": same["sha256"]}
    run(tmp_path, IDENTITIES, rows)
    (told,) = caplog.messages
    assert told == (
        "warning: split still: 4 of 10 test images are in training or validation as well, as the same file (1) or as a "
        "near copy (3): f107 is f3 of train, f105 is f5 of train, f100 is f3 of train and 1 more"
    )
    found = {row["sample_id"]: (row["copy_of"], row["bits"], row["is_same"]) for row in copies_in(tmp_path)}
    assert found == {
        "f100": ("f3", 3, False), "f104": ("f5", 3, False), "f105": ("f5", 0, False), "f107": ("f3", 0, True),
    }  # fmt: skip


def test_copies_are_counted_where_the_owner_gives_groups(tmp_path, caplog):
    run(tmp_path, IDENTITIES, [row | {"group_id": f"g{row['sample_id']}"} for row in with_copies({"f101": "f9"})])
    assert "1 of 10 test images is in training or validation as well" in caplog.text
    assert [row["sample_id"] for row in copies_in(tmp_path)] == ["f101"]


def test_splits_without_copies_are_not_warned_of(tmp_path, caplog):
    run(tmp_path, IDENTITIES, with_copies({"f1": "f2", "f101": "f102"}))  # within training, and within the test split
    assert not caplog.messages
    assert copies_in(tmp_path) == []


def test_a_position_is_the_same_on_every_machine():
    assert split.position(7, "id00012") == pytest.approx(0.5699002, abs=1e-6)


def index_tracks(folder, name: str, identities: list[str]) -> None:
    full = [dict.fromkeys(tables.TRACK_FRAMES.names) | row for row in frames(identities)]
    tables.write(folder / "tracks" / name / "index.parquet", tables.TRACK_FRAMES, full, key=["sample_id"])


def run(tmp_path, identities: list[str], still: list[dict]) -> None:
    index_tracks(tmp_path, "one", identities[: len(identities) // 2 + 1])
    index_tracks(tmp_path, "two", identities[len(identities) // 2 :])
    schema = tables.faces_schema({})
    full = [dict.fromkeys(schema.names) | row for row in still]
    tables.write(tmp_path / "faces" / "still" / "index.parquet", schema, full, key=["sample_id"])
    divide(tmp_path)


def divide(tmp_path) -> None:
    split.run(
        tracks=tmp_path / "tracks",
        faces=tmp_path / "faces",
        track_splits=tmp_path / "splits" / "tracks",
        face_splits=tmp_path / "splits" / "faces",
        seed=1,
        track_sets=["one", "two"],
        face_sets=["still"],
        split=SHARES,
    )


def test_an_identity_that_two_data_sets_share_is_in_one_split(tmp_path):
    run(tmp_path, IDENTITIES, faces(100, 10))
    one, two = (
        tables.read(tmp_path / "splits" / "tracks" / f"{name}.parquet", tables.SPLITS) for name in ("one", "two")
    )
    shared = splits_of(one).items() & splits_of(two).items()
    assert {name for name, _ in shared} == set(splits_of(one)) & set(splits_of(two)) != set()


def test_the_tables_are_the_same_bytes_on_a_second_run(tmp_path):
    run(tmp_path, IDENTITIES, faces(100, 10))
    first = {path: path.read_bytes() for path in (tmp_path / "splits").rglob("*.parquet")}
    run(tmp_path, IDENTITIES, faces(100, 10))
    assert len(first) == 6
    assert all(path.read_bytes() == data for path, data in first.items())


def test_what_every_split_got_is_told(tmp_path, caplog):
    with caplog.at_level("INFO"):
        run(tmp_path, IDENTITIES, faces(100, 10))
    one, two, still = (record.getMessage() for record in caplog.records)
    assert re.fullmatch(
        r"split one: train \d+ \(\d+ groups\), val \d+ \(\d+ groups\), test \d+ \(\d+ groups\), 0 rejects", one
    )
    numbers = [int(number) for number in re.findall(r" (\d+) \((\d+)", two) for number in number]
    assert sum(numbers[1::2]) == 200
    assert numbers[::2] == [3 * groups for groups in numbers[1::2]]
    assert still.endswith("test 10 (10 groups), 0 rejects")


def test_a_data_set_may_lack_a_split_that_another_one_has(tmp_path, caplog):
    run(tmp_path, IDENTITIES, faces(100, 10))
    index_tracks(tmp_path, "two", IDENTITIES[:1])
    with caplog.at_level("INFO"):
        divide(tmp_path)
    (told,) = [record.getMessage() for record in caplog.records if "split two" in record.getMessage()]
    assert told.count(" 3 (1 groups)") == 1
    assert told.count(" 0 (0 groups)") == 2


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_a_few_identities_leave_no_split_of_the_tracks_empty(count):
    for seed in range(100):
        names = [f"{seed}-{k}" for k in range(count)]
        shares = split.fitting(SHARES.model_copy(update={"track_val": 0.3, "track_test": 0.3}), names, seed=seed)
        assigned = splits_of(split.split_tracks(pa.Table.from_pylist(frames(names, 1)), shares, seed=seed))
        assert set(assigned.values()) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("val", "test", "counts"),
    [(0.001, 0.001, (3, 1, 1)), (0.998, 0.001, (1, 3, 1)), (0.001, 0.998, (1, 1, 3))],
)
def test_a_split_that_would_be_empty_gets_one_identity_and_no_more(val, test, counts):
    for seed in range(20):
        names = [f"{seed}-{k}" for k in range(5)]
        shares = split.fitting(SHARES.model_copy(update={"track_val": val, "track_test": test}), names, seed=seed)
        assigned = split.split_tracks(pa.Table.from_pylist(frames(names, 1)), shares, seed=seed)["split"].to_pylist()
        assert tuple(assigned.count(name) for name in ("train", "val", "test")) == counts


def test_shares_that_fill_every_split_are_not_moved():
    assert split.fitting(SHARES, IDENTITIES, seed=1) == SHARES


def test_an_empty_split_is_a_user_error_that_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"split of the face tracks is empty, with 2 groups .* another seed"):
        run(tmp_path, IDENTITIES[:2], faces(100, 10))
    with pytest.raises(UserError, match=r"test split of still is empty"):
        run(tmp_path, IDENTITIES, faces(100, 0))


def test_a_missing_index_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"index\.parquet is missing"):
        split._index(tmp_path, "one", split.FRAMES)
