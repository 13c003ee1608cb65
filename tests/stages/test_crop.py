import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from media_samples import encoded, level, mp4, noise
from releases import VOX1_HEADER, bring, frame_members, put, tar_gz, voxceleb1, voxceleb2

from fabnet.images import scale_pad_centre
from stages import crop
from stages.footage import videos
from stages.runtime import tables, workers
from stages.runtime.errors import UserError
from stages.runtime.params import CropParams, GeometryParams
from stages.storage import media
from stages.storage.shards import Shards

ROOT = Path(__file__).parents[2]
GEOMETRY = {
    "voxceleb1": GeometryParams(scale_px=256, pad_ltrb_px=(0, 0, 0, 0), centre_px=256),
    "voxceleb2": GeometryParams(scale_px=256, pad_ltrb_px=(20, 80, 20, 30), centre_px=190),
}


def run(dataset: str, raw: Path, out: Path, *, fps: float = 5.0, tracks_per_unit: int = 100) -> list[dict]:
    crop.run(
        dataset=dataset,
        raw=raw,
        out=out,
        sheets=out.parent / "sheets",
        journal=out.parent / "journal",
        crop=CropParams(fps=fps, jpeg_quality=95, tracks_per_unit=tracks_per_unit),
        geometry=GEOMETRY[dataset],
    )
    return tables.read(out / "index.parquet", tables.TRACK_FRAMES).to_pylist()


def rejects(out: Path) -> list[tuple[str, str]]:
    rows = tables.read(out / "rejects.parquet", tables.REJECTS).to_pylist()
    return [(row["key"], row["kind"]) for row in rows]


def stored(out: Path, row: dict) -> np.ndarray:
    with Shards(out) as shards:
        return media.decode_image(shards.read(row["shard"], row["offset"], row["size"]))


def command_line(raw: Path) -> list[str]:
    """`crop` as DVC starts it, writing into the current folder."""
    return [sys.executable, "-m", "stages.crop", "voxceleb1", "--raw", str(raw), "--out", "out", "--sheets", "sheets"]


def test_clips_are_sampled_and_cut_as_computed_by_hand(tmp_path):
    clip = mp4(tmp_path, 20)
    raw = bring("voxceleb2", voxceleb2(tmp_path / "release", {"id00001/v/00001": clip}), tmp_path / "raw")
    rows = run("voxceleb2", raw, tmp_path / "out")
    assert [row["frame"] for row in rows] == [0, 5, 10, 15]
    assert rows[1] | {"offset": 0, "size": 0, "sha256": ""} == {
        "sample_id": "id00001/v/00001/0000005",
        "identity_id": "id00001",
        "video_id": "v",
        "track_id": "id00001/v/00001",
        "frame": 5,
        "shard": "00000.tar",
        "offset": 0,
        "size": 0,
        "sha256": "",
        "width_px": 190,
        "height_px": 190,
    }
    originals = dict(videos.clip_frames(clip, 25.0))
    for row in rows:
        expected = scale_pad_centre(originals[row["frame"]], 256, (20, 80, 20, 30), 190)
        assert np.abs(stored(tmp_path / "out", row).astype(int) - expected).mean() < 2
        assert abs(level(stored(tmp_path / "out", row)) - 8 * row["frame"]) < 6


def test_frames_of_voxceleb1_are_scaled_to_256(tmp_path):
    raw = bring("voxceleb1", voxceleb1(tmp_path / "release", frame_members(["A"]), ["A"]), tmp_path / "raw")
    rows = run("voxceleb1", raw, tmp_path / "out")
    assert [row["frame"] for row in rows] == [6, 12, 18, 24] * 2
    assert {(row["width_px"], row["height_px"]) for row in rows} == {(256, 256)}
    expected = scale_pad_centre(noise(128, 128, 1101), 256, (0, 0, 0, 0), 256)
    assert np.abs(stored(tmp_path / "out", rows[0]).astype(int) - expected).mean() < 4


def test_dense_frames_are_thinned_to_the_grid(tmp_path):
    members = frame_members(["A"], tracks=1, frames=12)
    raw = bring("voxceleb1", voxceleb1(tmp_path / "release", members, ["A"]), tmp_path / "raw")
    assert [row["frame"] for row in run("voxceleb1", raw, tmp_path / "out", fps=1.0)] == [6, 30, 54]


STEPS = {  # archive, place of a frame, step between frame numbers, frames kept per second -> frame numbers kept
    "1 of 25 at 1 fps": ("zippedFaces", "unzippedFaces/A/1.6/v", 25, 1.0, [0, 25, 50, 75]),
    "1 of 25 at 5 fps": ("zippedFaces", "unzippedFaces/A/1.6/v", 25, 5.0, [0, 25, 50, 75]),
    "1 of 6 at 1 fps": ("dense-face-frames", "unzippedIntervalFaces/data/A/1.6/v/1", 6, 1.0, [0, 30, 54, 78]),
    "1 of 6 at 5 fps": ("dense-face-frames", "unzippedIntervalFaces/data/A/1.6/v/1", 6, 5.0, list(range(0, 91, 6))),
}


@pytest.mark.parametrize("what", STEPS)
def test_frame_numbers_of_both_voxceleb1_archives_count_at_25_fps(what, tmp_path):
    archive, place, step, fps, kept = STEPS[what]
    numbers = range(0, 96, step)
    members = {f"{place}/{number:07d}.jpg": encoded(noise(64, 64, number)) for number in numbers}
    tar_gz(tmp_path / "release" / f"{archive}.tar.gz", members)
    put(tmp_path / "release" / "vox1_meta.csv", f"{VOX1_HEADER}\nid10001\tA\tm\tNowhere\tdev\n")
    rows = run("voxceleb1", bring("voxceleb1", tmp_path / "release", tmp_path / "raw"), tmp_path / "out", fps=fps)
    assert [row["frame"] for row in rows] == kept


def test_frames_of_a_track_are_consecutive_in_a_shard(tmp_path):
    raw = bring(
        "voxceleb1", voxceleb1(tmp_path / "release", frame_members(["A", "B"], 3), ["A", "B"]), tmp_path / "raw"
    )
    rows = sorted(run("voxceleb1", raw, tmp_path / "out"), key=lambda row: (row["shard"], row["offset"]))
    order = [row["track_id"] for row in rows]
    assert order == sorted(order)
    assert all(row["frame"] < later["frame"] for row, later in pairwise(rows) if row["track_id"] == later["track_id"])


def test_bad_clips_are_rejects_and_the_others_are_kept(tmp_path):
    clip = mp4(tmp_path, 15)
    clips = {
        "id00001/v/00001": clip,
        "id00001/v/00002": clip[: len(clip) // 2],
        "id00001/v/00003": mp4(tmp_path, 1),
        "id00001/v/00004": b"no clip",
        "id00001/v/00005": mp4(tmp_path, 15, faststart=True)[:-2000],
    }
    raw = bring("voxceleb2", voxceleb2(tmp_path / "release", clips), tmp_path / "raw")
    rows = run("voxceleb2", raw, tmp_path / "out")
    assert {row["track_id"] for row in rows} == {"id00001/v/00001"}
    assert rejects(tmp_path / "out") == [
        ("id00001/v/00002", "unreadable video"),
        ("id00001/v/00003", "too few frames"),
        ("id00001/v/00004", "unreadable video"),
        ("id00001/v/00005", "video is cut short"),
    ]


def test_a_damaged_frame_is_left_out_of_its_track(tmp_path):
    members = frame_members(["A"], tracks=2, frames=3)
    second = list(members)[1]
    members[second] = members[second][: len(members[second]) // 2]
    for name in list(members)[4:]:
        members[name] = encoded(noise(40, 40))[:50]
    raw = bring("voxceleb1", voxceleb1(tmp_path / "release", members, ["A"]), tmp_path / "raw")
    rows = run("voxceleb1", raw, tmp_path / "out")
    assert [(row["track_id"], row["frame"]) for row in rows] == [("id10001/vid1/1", 6), ("id10001/vid1/1", 18)]
    assert ("id10001/vid1/1/0000012", "image is cut short") in rejects(tmp_path / "out")
    assert ("id10001/vid1/2", "too few frames") in rejects(tmp_path / "out")


def test_a_release_without_a_usable_track_is_a_user_error_without_output(tmp_path):
    raw = bring("voxceleb2", voxceleb2(tmp_path / "release", {"id00001/v/00001": b"junk"}), tmp_path / "raw")
    with pytest.raises(UserError, match="nothing in the release can be used, 1 rejects"):
        run("voxceleb2", raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_release_that_was_not_fetched_is_a_user_error(tmp_path):
    release = voxceleb2(tmp_path / "release", {"id00001/v/00001": b"junk"})
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        run("voxceleb2", release, tmp_path / "out")


def test_a_missing_part_of_an_archive_is_a_user_error(tmp_path):
    release = voxceleb2(tmp_path / "release", {"id00001/v/00001": bytes(1000)})
    (release / "vox2_dev_mp4_partab").unlink()
    raw = bring("voxceleb2", release, tmp_path / "raw")
    command = [sys.executable, "-m", "stages.crop", "voxceleb2", "--raw", str(raw), "--out", str(tmp_path / "out")]
    command += ["--sheets", str(tmp_path / "sheets")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "vox2_dev_mp4_partab is missing" in ended.stderr
    assert not (tmp_path / "out").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_units_of_another_size_give_the_same_images_in_other_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "available", lambda: 1)
    raw = bring(
        "voxceleb1", voxceleb1(tmp_path / "release", frame_members(["A", "B"], 3), ["A", "B"]), tmp_path / "raw"
    )
    rows = run("voxceleb1", raw, tmp_path / "one")
    first = contents(tmp_path / "one")
    run("voxceleb1", raw, tmp_path / "one")
    assert contents(tmp_path / "one") == first
    others = run("voxceleb1", raw, tmp_path / "other", tracks_per_unit=2)
    assert {row["shard"] for row in rows} == {"00000.tar"}
    assert {row["shard"] for row in others} == {"00000.tar", "00001.tar", "00002.tar"}
    place = {"shard": "", "offset": 0}
    assert [row | place for row in others] == [row | place for row in rows]
    assert all(
        (stored(tmp_path / "other", b) == stored(tmp_path / "one", a)).all() for a, b in zip(rows, others, strict=True)
    )
    assert not list((tmp_path / "journal").rglob("units"))


@pytest.mark.slow
def test_a_killed_run_continues_and_gives_the_same_bytes(tmp_path, monkeypatch):
    names = [f"N{k:02d}" for k in range(30)]
    raw = bring("voxceleb1", voxceleb1(tmp_path / "release", frame_members(names, 4, 6), names), tmp_path / "raw")
    with monkeypatch.context() as patched:
        patched.setattr(workers, "available", lambda: 1)
        run("voxceleb1", raw, tmp_path / "whole", tracks_per_unit=2)
    put(
        tmp_path / "work" / "params.yaml",
        (ROOT / "params.yaml").read_text().replace("tracks_per_unit: 8", "tracks_per_unit: 2"),
    )
    command = command_line(raw)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed_at = []
    for least in (4, 20):
        process = subprocess.Popen(command, cwd=tmp_path / "work", env=environment, stdout=subprocess.DEVNULL)
        wait_for_units(tmp_path / "work", least)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_at.append(units(tmp_path / "work"))
        assert not (tmp_path / "work" / "out").exists()
    finished = subprocess.run(
        command, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=True
    )
    continued = re.search(r"continuing after (\d+) finished units", finished.stdout)
    assert continued
    assert int(continued[1]) >= killed_at[-1]  # a worker may have finished a unit before it noticed
    assert killed_at == sorted(killed_at)
    assert contents(tmp_path / "work" / "out") == contents(tmp_path / "whole")


def units(work: Path) -> int:
    return len(list(work.glob(".journal/crop/voxceleb1/*/units/[0-9]*.parquet")))


def wait_for_units(work: Path, least: int) -> None:
    deadline = time.monotonic() + 60
    while units(work) < least:
        assert time.monotonic() < deadline, "no unit was finished"
        time.sleep(0.005)


@pytest.mark.slow
def test_worker_processes_end_when_their_parent_is_killed(tmp_path):
    names = [f"N{k:02d}" for k in range(30)]
    raw = bring("voxceleb1", voxceleb1(tmp_path / "release", frame_members(names, 4, 6), names), tmp_path / "raw")
    put(
        tmp_path / "params.yaml",
        (ROOT / "params.yaml").read_text().replace("tracks_per_unit: 8", "tracks_per_unit: 2"),
    )
    command = command_line(raw)
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    )
    wait_for_units(tmp_path, 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("the children of a process cannot be listed here")
    of_pool = [int(child) for child in children.read_text().split()]
    assert of_pool
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(is_running(child) for child in of_pool):
        assert time.monotonic() < deadline, "worker processes outlive their parent"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("dataset", ["voxceleb1", "voxceleb2"])
def test_a_release_without_its_manifest_is_a_user_error(dataset, tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json is missing: run `dvc repro fetch`"):
        run(dataset, tmp_path / "raw", tmp_path / "out")
