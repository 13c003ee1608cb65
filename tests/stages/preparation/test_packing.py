import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from stages.preparation import encoded, packing, units
from stages.preparation.encoded import EncodedImage
from stages.releases.readers import MANIFEST, Face, Reject, Release
from stages.runtime import tables, workers
from stages.runtime.errors import Rejected, UserError
from stages.storage import journals

SCHEMA = tables.faces_schema({})


def job(tmp_path: Path) -> packing.Job:
    raw = tmp_path / "raw"
    from_fetch = tables.Rejects("fetch")
    from_fetch.add("made", "gone", "unreadable file")
    from_fetch.write(raw / "rejects.parquet")
    (raw / MANIFEST).touch()
    place = packing.Place("made", raw, tmp_path / "out", tmp_path / "sheets", tmp_path / "journal")
    return packing.Job(place, "index", SCHEMA, "images", items_per_unit=2)


def release(count: int) -> Release[Face]:
    items: list[Face | Reject] = [Face(f"f{k}", "", "train", "") for k in range(count)]
    items.insert(3, Reject("early", "lost", "by the reader"))
    return Release(iter(items), len(items))


def paint(face: Face) -> Iterator[EncodedImage | Reject]:
    number = int(face.sample_id[1:])
    if number % 5 == 4:
        raise Rejected("odd", "as planned")
    row = {"sample_id": face.sample_id, "owner_split": face.owner_split, "subset": "", "crop_xyxy_px": [0, 0, 8, 8]}
    yield encoded.encode(row, np.full((8, 8, 3), number, np.uint8), 95)


@dataclass
class Painter:
    """Paints faces up to one, at which it ends the run as a signal would."""

    stop_at: str = ""
    painted: list[str] = field(default_factory=list)

    def __call__(self, face: Face) -> Iterator[EncodedImage | Reject]:
        if face.sample_id == self.stop_at:
            raise KeyboardInterrupt
        self.painted.append(face.sample_id)
        yield from paint(face)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "available", lambda: 1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def of_kind(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "journal").rglob(kind))


def test_rejects_of_fetch_reader_and_worker_are_in_one_table(tmp_path):
    packing.pack(job(tmp_path), lambda _: release(10), paint)
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["key"], row["stage"], row["dataset"]) for row in rejects] == [
        ("early", "index", "made"),
        ("f4", "index", "made"),
        ("f9", "index", "made"),
        ("gone", "fetch", "made"),
    ]
    assert tables.read(tmp_path / "out" / "index.parquet", SCHEMA).num_rows == 8


def test_the_shard_of_an_image_has_the_number_of_its_unit(tmp_path):
    packing.pack(job(tmp_path), lambda _: release(10), paint)
    index = tables.read(tmp_path / "out" / "index.parquet", SCHEMA).to_pylist()
    shards = {row["sample_id"]: row["shard"] for row in index}
    assert (shards["f0"], shards["f1"], shards["f3"], shards["f8"]) == (
        "00000.tar",
        "00000.tar",
        "00002.tar",
        "00004.tar",
    )
    assert {path.name for path in (tmp_path / "out").glob("*.tar")} == set(shards.values())


def test_a_unit_without_images_has_no_shard(tmp_path):
    one_each = replace(job(tmp_path), items_per_unit=1)
    packing.pack(one_each, lambda _: release(10), paint)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert names == [f"{number:05d}.tar" for number in range(11) if number not in (3, 5, 10)]


def test_a_unit_without_images_is_finished_all_the_same(tmp_path):
    units.finished(tmp_path)
    rejected = [Reject("early", "lost"), Face("f4", "", "train", "")]
    unit = units.pack(units.hand_over(tmp_path, 7, rejected), work=paint, schema=SCHEMA)
    assert not unit.shard.exists()
    assert [reject.key for reject in units.rejects(unit.record)] == ["early", "f4"]
    assert units.finished(tmp_path) == {7: 2}


def test_any_number_of_processes_gives_the_same_bytes(tmp_path, monkeypatch):
    packing.pack(job(tmp_path / "one"), lambda _: release(20), paint)
    monkeypatch.setattr(workers, "available", lambda: 2)
    packing.pack(job(tmp_path / "two"), lambda _: release(20), paint)
    assert contents(tmp_path / "two" / "out") == contents(tmp_path / "one" / "out")


def test_a_stopped_run_continues_without_packing_finished_units_again(tmp_path):
    packing.pack(job(tmp_path / "whole"), lambda _: release(20), paint)
    with pytest.raises(KeyboardInterrupt):
        packing.pack(job(tmp_path), lambda _: release(20), Painter("f15"))
    assert not (tmp_path / "out").exists()
    second = Painter()
    packing.pack(job(tmp_path), lambda _: release(20), second)
    assert second.painted == ["f15", "f16", "f17", "f18", "f19"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole" / "out")


def shard_is_short(shard: Path, record: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1])


def shard_is_long(shard: Path, record: Path) -> None:
    shard.write_bytes(shard.read_bytes() + b"x")


def shard_is_missing(shard: Path, record: Path) -> None:
    shard.unlink()


def record_is_missing(shard: Path, record: Path) -> None:
    record.unlink()


def record_is_empty(shard: Path, record: Path) -> None:
    record.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [shard_is_short, shard_is_long, shard_is_missing, record_is_missing, record_is_empty]
)
def test_only_the_unit_that_is_not_whole_is_packed_again(damage, tmp_path):
    packing.pack(job(tmp_path / "whole"), lambda _: release(20), paint)
    with pytest.raises(KeyboardInterrupt):
        packing.pack(job(tmp_path), lambda _: release(20), Painter("f15"))
    (shard,), (record,) = of_kind(tmp_path, "00002.tar"), of_kind(tmp_path, "00000002.parquet")
    damage(shard, record)
    second = Painter()
    packing.pack(job(tmp_path), lambda _: release(20), second)
    assert second.painted == ["f3", "f4", "f15", "f16", "f17", "f18", "f19"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole" / "out")


def test_a_unit_that_is_not_whole_is_told_and_a_failing_disk_is_not_taken_for_one(tmp_path, monkeypatch, caplog):
    journal = tmp_path / "made" / "1"
    units.finished(journal)
    for number in range(2):
        units.pack(units.hand_over(journal, number, [Face("f1", "", "train", "")]), work=paint, schema=SCHEMA)
    first, second = units.records(journal)
    first.write_bytes(b"")
    with caplog.at_level("INFO"):
        assert units.finished(journal) == {1: 1}
    assert "unit 0 of made is damaged: it is packed again" in caplog.text
    assert not first.exists()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(units.pq, "read_table", fail)
    with pytest.raises(OSError, match="Input/output error"):
        units.finished(journal)
    assert second.exists()


def test_what_a_killed_worker_leaves_is_removed(tmp_path):
    packing.pack(job(tmp_path / "whole"), lambda _: release(20), paint)
    with pytest.raises(KeyboardInterrupt):
        packing.pack(job(tmp_path), lambda _: release(20), Painter("f15"))
    (waiting,) = of_kind(tmp_path, units.WAITING)
    (waiting / "tmp1").mkdir()
    (waiting / "tmp1" / "00007.tar").write_bytes(b"half")
    (waiting / "00000009.items").write_bytes(b"half")
    packing.pack(job(tmp_path), lambda _: release(20), paint)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole" / "out")


def test_a_shard_without_a_record_is_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        packing.pack(job(tmp_path), lambda _: release(20), Painter("f15"))
    (whole,) = of_kind(tmp_path, journals.WHOLE)
    (whole / "00099.tar").write_bytes(b"of another release")
    packing.pack(job(tmp_path), lambda _: release(20), paint)
    assert not (tmp_path / "out" / "00099.tar").exists()


def test_two_workers_may_pack_the_same_unit(tmp_path):
    units.finished(tmp_path)
    unit = units.hand_over(tmp_path, 0, [Face(f"f{k}", "", "train", "") for k in range(5)])

    def and_meanwhile_another(face: Face) -> Iterator[EncodedImage | Reject]:
        if face.sample_id == "f2":
            units.pack(unit, work=paint, schema=SCHEMA)
        yield from paint(face)

    units.pack(unit, work=paint, schema=SCHEMA)
    once = unit.shard.read_bytes(), unit.record.read_bytes()
    units.pack(unit, work=and_meanwhile_another, schema=SCHEMA)
    assert (unit.shard.read_bytes(), unit.record.read_bytes()) == once
    assert list(unit.waiting.parent.iterdir()) == [unit.waiting]


def test_items_wait_in_files_for_no_more_units_than_are_in_hand(tmp_path):
    most = 0

    def watch(face: Face) -> Iterator[EncodedImage | Reject]:
        nonlocal most
        most = max(most, len(of_kind(tmp_path, "*.items")))
        yield from paint(face)

    packing.pack(job(tmp_path), lambda _: release(40), watch)
    assert 1 <= most <= 2
    assert of_kind(tmp_path, "*.items") == []


def test_a_worker_that_does_not_see_the_release_ends_the_run(tmp_path):
    of = job(tmp_path)

    def vanishing() -> Iterator[Face]:
        yield from (Face(f"f{k}", "", "train", "") for k in range(4))
        (of.place.raw / MANIFEST).unlink()
        yield Face("f4", "", "train", "")

    with pytest.raises(UserError, match=r"unit 2 of made: .*manifest\.json is not seen from"):
        packing.pack(of, lambda _: Release(vanishing(), 5), paint)


def test_a_release_without_items_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="nothing in the release can be used, 0 rejects;"):
        packing.pack(job(tmp_path), lambda _: Release(iter(()), 0), paint)


def test_a_run_killed_while_it_finishes_gives_the_same_bytes(tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    packing.pack(job(whole), lambda _: release(8), paint)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for last_step in ("_finish", "_link", "_remove_others"):
        with monkeypatch.context() as patched:
            patched.setattr(journals, last_step, stop)
            with pytest.raises(KeyboardInterrupt):
                packing.pack(job(tmp_path), lambda _: release(8), paint)
        packing.pack(job(tmp_path), lambda _: release(8), paint)
        assert contents(tmp_path / "out") == contents(whole / "out")
        assert contents(tmp_path / "sheets") == contents(whole / "sheets")
        assert {path.name for path in (tmp_path / "journal" / "index" / "made").glob("*/*")} == {
            journals.FINISHED,
            journals.WHOLE,
            packing.SHEETS,
        }
        shutil.rmtree(tmp_path / "journal")


def test_a_finished_release_is_taken_over_with_its_sheets_and_not_read(tmp_path):
    packing.pack(job(tmp_path), lambda _: release(8), paint)
    before = contents(tmp_path / "out"), contents(tmp_path / "sheets")
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "sheets")

    def read(_: Path) -> Release[Face]:
        raise AssertionError("it is read")

    packing.pack(job(tmp_path), read, paint)
    assert (contents(tmp_path / "out"), contents(tmp_path / "sheets")) == before
