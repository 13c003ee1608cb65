from pathlib import Path

import numpy as np
import pytest
from own_samples import CLOCKWISE, turned, video
from releases import bring, put
from video_samples import clip, shot

from stages import track
from stages.detectors import dlib_hog
from stages.runtime import config, limits, tables, workers
from stages.runtime.errors import UserError
from stages.runtime.limits import Limits
from stages.storage import media
from stages.storage.shards import Shards

ROOT = Path(__file__).parents[2]
PARAMS = config.load(ROOT / "params.yaml")
OWN = PARAMS.dataset["own_videos"]
FACE = (100, 120, 130)  # centre x, centre y, side
ANOTHER = (210, 110, 120)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "available", lambda: 1)


def run(folder: Path, out: str = "out", *, fps: float = 5.0, **changes: float) -> list[dict]:
    """Rows of the index that `track` makes of the videos in `folder`/release."""
    track.run(
        dataset="own_videos",
        raw=bring("own_videos", folder / "release", folder / "raw"),
        out=folder / out,
        sheets=folder / "sheets",
        journal=folder / "journal",
        crop=PARAMS.crop.model_copy(update={"fps": fps}),
        detect=PARAMS.detect,
        geometry=OWN.crop,
        track=OWN.track.model_copy(update=changes),
    )
    return tables.read(folder / out / "index.parquet", tables.TRACK_FRAMES).to_pylist()


def frames_by_track(rows: list[dict]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["track_id"], []).append(row["frame"])
    return found


def rejects(folder: Path) -> dict[str, str]:
    rows = tables.read(folder / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    return {row["key"]: f"{row['kind']}: {row['detail']}" for row in rows}


def stored(folder: Path, row: dict) -> np.ndarray:
    with Shards(folder / "out") as shards:
        return media.decode_image(shards.read(row["shard"], row["offset"], row["size"]))


def test_a_moving_face_is_a_track_with_the_face_where_voxceleb2_has_it(tmp_path):
    clip(tmp_path / "release" / "anna" / "a.mp4", shot(10, FACE, dx=2))
    rows = run(tmp_path)
    assert frames_by_track(rows) == {"anna/a.mp4/00001": list(range(0, 50, 5))}
    assert {(row["identity_id"], row["video_id"], row["width_px"]) for row in rows} == {("anna", "a.mp4", 190)}
    find = dlib_hog.load(Path(), 0.0)
    for row in rows[
        ::4
    ]:  # VoxCeleb2's crops of real clips: side 0.49 of 256 px, centre 0.50 and 0.44 of it, less 33 and 8
        x0, y0, x1, y1 = find(stored(tmp_path, row), 1).boxes[0]
        assert (x1 - x0) == pytest.approx(125, abs=25)
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((95, 105), abs=14)


def test_a_cut_ends_a_track_and_each_of_two_faces_has_one(tmp_path):
    clip(tmp_path / "release" / "a.mp4", shot(8, FACE), shot(8, FACE, ANOTHER, seed=4))
    first, second = list(range(0, 40, 5)), list(range(40, 80, 5))
    found = frames_by_track(run(tmp_path))
    assert list(found.values()) == [first, second, second]
    assert list(found) == [f"a.mp4/a.mp4/0000{number}" for number in (1, 2, 3)]
    index = tables.read(tmp_path / "out" / "index.parquet").sort_by("offset")
    assert [row["track_id"] for row in index.to_pylist()] == [key for key, frames in found.items() for _ in frames]


def test_a_face_that_is_missed_for_a_moment_is_filled_in(tmp_path):
    clip(tmp_path / "release" / "a.mp4", shot(5, FACE), shot(1), shot(5, FACE))
    assert [len(frames) for frames in frames_by_track(run(tmp_path, least_likeness=-1.0)).values()] == [11]
    split = frames_by_track(run(tmp_path, least_likeness=-1.0, gap_s=0.1, least_s=0.5))
    assert [len(frames) for frames in split.values()] == [5, 5]


def test_frames_are_kept_at_the_rate_of_other_face_tracks(tmp_path):
    clip(tmp_path / "release" / "a.mp4", shot(16, FACE))
    assert [row["frame"] for row in run(tmp_path, fps=1.0)] == [0, 25, 50, 75]


def test_frame_numbers_follow_the_time_stamps(tmp_path):
    times_s = [0.0, 0.02, 0.5, 0.52, 1.3, 1.52]
    (tmp_path / "release").mkdir()
    video(tmp_path / "release" / "a.mp4", shot(6, FACE), times_s)
    assert [row["frame"] for row in run(tmp_path, gap_s=1.0)] == [0, 12, 32, 38]


def test_a_video_of_an_upright_phone_is_turned(tmp_path):
    images = [np.rot90(image) for image in shot(8, FACE)]  # counter-clockwise, as the sensor of the phone lies
    (tmp_path / "release").mkdir()
    turned(video(tmp_path / "release" / "a.mp4", images, [k / 5 for k in range(8)]), CLOCKWISE)
    assert len(run(tmp_path)) == 8


def test_what_cannot_be_used_is_a_reject_and_the_others_are_kept(tmp_path):
    release = tmp_path / "release"
    clip(release / "good.mp4", shot(8, FACE))
    clip(release / "empty room.mov", shot(6))
    clip(release / "moment.mkv", shot(2, FACE), shot(4))
    clip(release / "other.m4v", shot(8, FACE))
    put(release / "notes.txt", "not a video")
    put(release / "broken.mp4", b"no video")
    whole = clip(release / "cut.mp4", shot(20, FACE), shot(10, FACE, seed=4)).read_bytes()
    put(release / "cut.mp4", whole[: len(whole) * 3 // 4])
    rows = run(tmp_path)
    found = frames_by_track(rows)
    assert set(found) == {f"{name}/{name}/00001" for name in ("good.mp4", "cut.mp4", "other.m4v")}
    assert 8 < len(found["cut.mp4/cut.mp4/00001"]) <= 20
    assert {key: reason.split(":")[0] for key, reason in rejects(tmp_path).items()} == {
        "empty room.mov/empty room.mov": "no face detected",
        "moment.mkv/moment.mkv/00001": "track too short",
        "notes.txt": "not a video",
        "broken.mp4/broken.mp4": "unreadable video",
        "cut.mp4/cut.mp4": "video is cut short",
    }


def test_a_small_face_is_a_reject(tmp_path):
    clip(tmp_path / "release" / "a.mp4", shot(8, (90, 120, 110)), shot(8, (200, 110, 180), seed=4))
    rows = run(tmp_path, least_px=110)
    assert set(frames_by_track(rows)) == {"a.mp4/a.mp4/00002"}
    assert "face too small" in rejects(tmp_path)["a.mp4/a.mp4/00001"]


def test_a_long_video_is_used_up_to_the_limit(tmp_path, monkeypatch):
    clip(tmp_path / "release" / "a.mp4", shot(16, FACE))
    monkeypatch.setattr(limits, "_now", Limits(video_s=2))
    assert len(run(tmp_path)) == 11
    assert rejects(tmp_path) == {"a.mp4/a.mp4": "video too long: its first 2 s are used"}


def test_a_video_whose_crops_take_too_much_memory_is_a_reject(tmp_path, monkeypatch):
    clip(tmp_path / "release" / "a.mp4", shot(16, FACE))
    monkeypatch.setattr(track, "MAX_BYTES", 20_000)
    with pytest.raises(UserError, match="too many faces: their crops take more than 20000 bytes"):
        run(tmp_path)


def test_equal_videos_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        clip(tmp_path / "release" / name / "a.mp4", shot(6, FACE, dx=1))
    run(tmp_path, "one")
    run(tmp_path, "two")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("one", "two"))
    assert one == two


def test_a_release_without_a_face_is_a_user_error(tmp_path):
    clip(tmp_path / "release" / "a.mp4", shot(3))
    with pytest.raises(UserError, match=r"nothing in the release can be used, 1 rejects.*no face detected"):
        run(tmp_path)


def test_the_index_names_the_detector(tmp_path):
    clip(tmp_path / "release" / "a.mp4", shot(6, FACE))
    run(tmp_path)
    metadata = tables.read(tmp_path / "out" / "index.parquet").schema.metadata
    assert metadata[b"detector"] == b"dlib_hog"
