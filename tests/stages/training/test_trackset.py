from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from track_samples import SIDE_PX, SPLITS, frame_image, write_many_tracks, write_tracks

from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.training.trackset import TrackSet, TrackSource

JITTER = {"voxceleb1": (36, 40), "voxceleb2": (32, 34)}


def load(root: Path, *datasets: str, frames: int = 2) -> TrackSet:
    names = list(datasets or ["voxceleb1"])
    return TrackSource(root / "tracks", root / "splits", names, JITTER).load(frames, "pretrain")


def indexed(root: Path, *datasets: str) -> list[dict]:
    """Rows of the indexes, in the order of the rows of a track set."""
    folders = [(name, root / "tracks" / name / "index.parquet") for name in sorted(datasets or ["voxceleb1"])]
    return [{"dataset": name, **row} for name, path in folders for row in tables.read(path).to_pylist()]


def filed(frames: TrackSet, rows: list[dict]) -> dict[tuple[str, ...], list[int]]:
    """Split, identity, video, data set and track -> row numbers; what is grouped wrongly fails."""
    found: dict[tuple[str, ...], list[int]] = {}
    for split, tracks in frames.tracks.items():
        for i in range(len(tracks)):
            videos = range(tracks.identities[i], tracks.identities[i + 1])
            of_identity = set()
            for v in videos:
                of_video = set()
                for t in range(tracks.videos[v], tracks.videos[v + 1]):
                    numbers = list(range(tracks.first[t], tracks.first[t] + tracks.lengths[t]))
                    (key,) = {
                        tuple(rows[n][k] for k in ("identity_id", "video_id", "dataset", "track_id")) for n in numbers
                    }
                    assert (split, *key) not in found
                    found[(split, *key)] = numbers
                    of_video.add(key[:2])
                assert len(of_video) == 1
                of_identity |= of_video
            assert len(of_identity) == len(videos)
            assert len({identity for identity, _ in of_identity}) == 1
    return found


def filed_at(frames: TrackSet) -> list[tuple[str, str, int, int]]:
    """Data set, shard, offset and size of every row."""
    places = frames.places
    where = zip(places.shard.tolist(), places.offset.tolist(), places.size.tolist(), strict=True)
    return [(*places.shards[shard], offset, size) for shard, offset, size in where]


def test_tracks_are_filed_by_split_identity_and_video(tmp_path: Path):
    write_tracks(tmp_path)
    found = filed(load(tmp_path), indexed(tmp_path))
    assert set(found) == {
        (split, name, video, "voxceleb1", f"{name}/{video}/00001")
        for name, split in SPLITS.items()
        for video in ("v1", "v2")
    }


def test_rows_of_a_track_are_its_frames_in_order(tmp_path: Path):
    write_tracks(tmp_path)
    rows = indexed(tmp_path)
    for (*_, track), numbers in filed(load(tmp_path), rows).items():
        names = [rows[number]["sample_id"] for number in numbers]
        assert names == [f"{track}/{frame:06d}" for frame in (0, 5, 10, 15)]


def test_among_thousands_of_tracks_of_different_lengths_each_has_its_own_frames(tmp_path: Path):
    write_many_tracks(tmp_path)
    assert len(filed(load(tmp_path), indexed(tmp_path))) == 3000


def test_rows_say_where_their_frames_lie(tmp_path: Path):
    for dataset in JITTER:
        write_tracks(tmp_path, dataset)
    expected = [
        tuple(row[name] for name in ("dataset", "shard", "offset", "size")) for row in indexed(tmp_path, *JITTER)
    ]
    assert filed_at(load(tmp_path, *JITTER)) == expected


def test_a_frame_is_the_stored_image_in_rgb(tmp_path: Path):
    write_tracks(tmp_path)
    frames = load(tmp_path)
    row = filed(frames, indexed(tmp_path))["val", "id4", "v2", "voxceleb1", "id4/v2/00001"][2]
    expected = frame_image("id4/v2/00001", 10).astype(int)
    assert frames.image(row).shape == (SIDE_PX, SIDE_PX, 3)
    assert np.abs(frames.image(row) - expected).mean() < 4


def test_every_row_has_its_size_and_the_jitter_of_its_data_set(tmp_path: Path):
    for dataset in JITTER:
        write_tracks(tmp_path, dataset)
    frames = load(tmp_path, *JITTER)
    assert frames.sizes.tolist() == [[SIDE_PX, SIDE_PX]] * 96
    names = [dataset for dataset, *_ in filed_at(frames)]
    assert sorted(set(names)) == list(JITTER)
    assert [tuple(row) for row in frames.jitter_px] == [JITTER[name] for name in names]


def test_data_sets_of_a_split_are_those_with_a_track_in_it(tmp_path: Path):
    for dataset in JITTER:
        write_tracks(tmp_path, dataset)
    path = tmp_path / "splits" / "voxceleb2.parquet"
    rows = [row | {"split": "train"} for row in tables.read(path).to_pylist()]
    tables.write(path, tables.SPLITS, rows, key=["sample_id"])
    frames = load(tmp_path, *JITTER)
    assert frames.datasets("train") == {"voxceleb1", "voxceleb2"}
    assert frames.datasets("test") == {"voxceleb1"}
    assert frames.datasets("none") == set()


def test_equal_track_names_of_two_data_sets_stay_apart(tmp_path: Path):
    for dataset in JITTER:
        write_tracks(tmp_path, dataset)
    frames = load(tmp_path, *JITTER)
    found = filed(frames, indexed(tmp_path, *JITTER))
    one, other = (found["train", "id1", "v1", name, "id1/v1/00001"] for name in JITTER)
    assert not set(one) & set(other)
    assert len(frames.tracks["train"]) == 3  # an identity of two data sets is one


def test_the_order_of_data_sets_does_not_matter(tmp_path: Path):
    for dataset in JITTER:
        write_tracks(tmp_path, dataset)
    one, other = load(tmp_path, "voxceleb1", "voxceleb2"), load(tmp_path, "voxceleb2", "voxceleb1")
    assert filed_at(one) == filed_at(other)


def test_a_track_that_is_too_short_becomes_a_reject(tmp_path: Path):
    write_tracks(tmp_path, short="id2")
    frames = load(tmp_path)
    assert frames.rejects.rows == [
        {
            "dataset": "voxceleb1",
            "key": "id2/v1/00001",
            "stage": "pretrain",
            "kind": "too few frames",
            "detail": "a sample needs 2, found 1",
        }
    ]
    rows = indexed(tmp_path)
    found = filed(frames, rows)
    assert [video for _, name, video, *_ in found if name == "id2"] == ["v2"]
    first = found["train", "id2", "v2", "voxceleb1", "id2/v2/00001"][0]
    assert rows[first]["sample_id"] == "id2/v2/00001/000000"


def test_a_split_without_a_long_enough_track_is_a_user_error(tmp_path: Path):
    write_tracks(tmp_path)
    with pytest.raises(
        UserError, match="no track of at least 5 frames in the train split, the longest has 4: use a la"
    ):
        load(tmp_path, frames=5)


def test_a_split_that_is_not_needed_may_be_empty(tmp_path: Path):
    write_tracks(tmp_path, frames=2)
    folders = (tmp_path / "tracks", tmp_path / "splits")
    assert TrackSource(*folders, ["voxceleb1"], JITTER).load(5, "illustrate", needed=()).tracks == {}


def test_threads_that_share_a_track_set_get_the_same_frames(tmp_path: Path):
    write_tracks(tmp_path)
    alone, shared = load(tmp_path), load(tmp_path)
    rows = [row % 11 for row in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for row, image in zip(rows, pool.map(shared.image, rows), strict=True):
            assert np.array_equal(image, alone.image(row))


def test_frames_without_a_split_raise_a_user_error(tmp_path: Path):
    write_tracks(tmp_path)
    path = tmp_path / "splits" / "voxceleb1.parquet"
    tables.write(path, tables.SPLITS, tables.read(path).slice(1), key=["sample_id"])
    with pytest.raises(UserError, match=r"voxceleb1\.parquet does not cover every frame .* run `dvc repro split`"):
        load(tmp_path)


def test_a_missing_table_is_a_user_error(tmp_path: Path):
    write_tracks(tmp_path)
    with pytest.raises(UserError, match=r"voxceleb2/index\.parquet is missing"):
        load(tmp_path, "voxceleb1", "voxceleb2")


def test_a_damaged_frame_is_a_user_error(tmp_path: Path):
    write_tracks(tmp_path)
    frames = load(tmp_path)
    _, shard, offset, _ = filed_at(frames)[0]
    with (tmp_path / "tracks" / "voxceleb1" / shard).open("r+b") as file:
        file.seek(offset)
        file.write(b"nothing")
    with pytest.raises(UserError, match=r"voxceleb1, frame at 512 in 00000\.tar: not an image.*force crop"):
        frames.image(0)


def test_identities_of_an_oversampled_data_set_are_drawn_more_often(tmp_path: Path):
    write_tracks(tmp_path, "voxceleb1")
    write_tracks(tmp_path, "voxceleb2")
    one, both = load(tmp_path), load(tmp_path, "voxceleb1", "voxceleb2")  # the same identities
    ones = [1] * len(one.tracks["train"])
    assert one.times("train", {"voxceleb2": 3}).tolist() == both.times("train", {}).tolist() == ones
    assert both.times("train", {"voxceleb1": 2, "voxceleb2": 3}).tolist() == [3 * times for times in ones]
