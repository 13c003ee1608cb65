from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from stages.preparation import packing
from stages.releases.readers import MANIFEST, Face, Reject, Release
from stages.runtime import tables
from stages.runtime.errors import Rejected
from stages.storage import journals

SCHEMA = tables.faces_schema({})


def job(tmp_path) -> packing.Job:
    raw = tmp_path / "raw"
    from_fetch = tables.Rejects("fetch")
    from_fetch.add("made", "gone", "unreadable file")
    from_fetch.write(raw / "rejects.parquet")
    (raw / MANIFEST).touch()
    place = packing.Place("made", raw, tmp_path / "out", tmp_path / "sheets", tmp_path / "journal")
    return packing.Job(place, "index", SCHEMA, "images", items_per_unit=2, shard_mb=1)


def release(count: int) -> Release[Face]:
    items: list[Face | Reject] = [Face(f"f{k}", "", "train", "") for k in range(count)]
    items.insert(3, Reject("early", "lost", "by the reader"))
    return Release(iter(items), len(items))


def paint(face: Face) -> Iterator[packing.EncodedImage | Reject]:
    number = int(face.sample_id[1:])
    if number % 5 == 4:
        raise Rejected("odd", "as planned")
    row = {"sample_id": face.sample_id, "owner_split": face.owner_split, "subset": "", "crop_xyxy_px": [0, 0, 8, 8]}
    yield packing.encode(row, np.full((8, 8, 3), number, np.uint8), 95)


@dataclass
class StopAt:
    """Reads items up to one, then ends the run as a signal would."""

    sample_id: str
    read: list[str]

    def __call__(self, face: Face) -> Face:
        if face.sample_id == self.sample_id:
            raise KeyboardInterrupt
        self.read.append(face.sample_id)
        return face


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rejects_of_fetch_reader_and_worker_are_in_one_table(tmp_path):
    packing.pack(job(tmp_path), lambda _: release(10), lambda face: face, paint)
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["key"], row["stage"], row["dataset"]) for row in rejects] == [
        ("early", "index", "made"),
        ("f4", "index", "made"),
        ("f9", "index", "made"),
        ("gone", "fetch", "made"),
    ]
    assert tables.read(tmp_path / "out" / "index.parquet", SCHEMA).num_rows == 8


def test_a_stopped_run_continues_without_reading_finished_units_again(tmp_path):
    whole = tmp_path / "whole"
    packing.pack(job(whole), lambda _: release(20), lambda face: face, paint)
    with pytest.raises(KeyboardInterrupt):
        packing.pack(job(tmp_path), lambda _: release(20), StopAt("f15", []), paint)
    assert not (tmp_path / "out").exists()
    second = StopAt("none", [])
    packing.pack(job(tmp_path), lambda _: release(20), second, paint)
    assert "f0" not in second.read
    assert "f19" in second.read
    assert contents(tmp_path / "out") == contents(whole / "out")


def test_a_run_killed_while_it_finishes_gives_the_same_bytes(tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    packing.pack(job(whole), lambda _: release(8), lambda face: face, paint)

    def stop(*_, **__):
        raise KeyboardInterrupt

    for last_step in (f"{journals.__name__}._move_into_place", "shutil.rmtree"):  # which removes the journal
        with monkeypatch.context() as patched:
            patched.setattr(last_step, stop)
            with pytest.raises(KeyboardInterrupt):
                packing.pack(job(tmp_path), lambda _: release(8), lambda face: face, paint)
        packing.pack(job(tmp_path), lambda _: release(8), lambda face: face, paint)
        assert contents(tmp_path / "out") == contents(whole / "out")
        assert not (tmp_path / "journal" / "index" / "made").exists()
