import io

import av
import numpy as np
import pytest
from media_samples import encoded, level, moving_clip, mp4, noise

from stages.footage import pictures, videos
from stages.runtime import limits
from stages.runtime.errors import Rejected
from stages.runtime.limits import Limits
from stages.storage import media


def frames_of(clip: bytes, fps: float) -> list[tuple[int, np.ndarray]]:
    return list(videos.clip_frames(clip, fps))


def test_channels_are_red_green_blue(tmp_path):
    red = np.full((16, 16, 3), (220, 40, 10), np.uint8)
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode())
    ((_, frame),) = frames_of((tmp_path / "red.mp4").read_bytes(), 25.0)
    assert frame[8, 8].tolist() == pytest.approx([220, 40, 10], abs=8)


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(25.0, list(range(20))), (5.0, [0, 5, 10, 15]), (1.0, [0]), (10.0, [0, 3, 5, 8, 10, 13, 15, 18])],
)
def test_the_first_frame_of_each_interval_is_kept(tmp_path, fps, expected):
    kept = frames_of(mp4(tmp_path, 20), fps)
    assert [number for number, _ in kept] == expected
    assert all(abs(level(image) - 8 * number) < 6 for number, image in kept)


def test_frame_numbers_follow_timestamps(tmp_path):
    kept = frames_of(mp4(tmp_path, 30, fps=50), 25.0)
    assert [number for number, _ in kept] == list(range(15))


def test_frame_numbers_of_a_30_fps_video_are_unique(tmp_path):
    numbers = [number for number, _ in frames_of(mp4(tmp_path, 40, fps=30), 25.0)]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("faststart", [False, True])
def test_a_truncated_clip_is_rejected(tmp_path, faststart, share):
    clip = mp4(tmp_path, 40, faststart=faststart)
    with pytest.raises(Rejected, match="cut short" if faststart else "unreadable"):
        frames_of(clip[: int(len(clip) * share)], 5.0)


def test_files_that_are_not_videos_are_rejected():
    for junk in (b"", b"not a clip", bytes(10_000), encoded(noise(32, 32))[:40]):
        with pytest.raises(Rejected):
            frames_of(junk, 5.0)


def test_a_clip_beyond_the_limits_is_rejected(tmp_path, monkeypatch):
    clip = mp4(tmp_path, 60)
    monkeypatch.setattr(limits, "_now", Limits(video_s=1))
    with pytest.raises(Rejected, match="too long"):
        frames_of(clip, 5.0)
    monkeypatch.setattr(pictures, "MAX_SIDE_PX", 100)
    with pytest.raises(Rejected, match="too large: 224x224"):
        frames_of(clip, 5.0)


STEADY = [k / 25 for k in range(90)]
UNSTEADY = [0.5 + at for at in np.cumsum(np.random.default_rng(0).choice([0.01, 0.04, 0.3], 60)).tolist()]


def first_of_intervals(clip: bytes, fps: float) -> list[tuple[int, np.ndarray]]:
    """Every frame is decoded."""
    kept: list[tuple[int, np.ndarray]] = []
    with av.open(io.BytesIO(clip)) as container:
        frames = list(container.decode(video=0))
    for frame in frames:
        number = round((frame.time - frames[0].time) * 25)
        if not kept or media.grid_slot(number, fps) > media.grid_slot(kept[-1][0], fps):
            kept.append((number, frame.to_ndarray(format="rgb24")))
    return kept


@pytest.mark.parametrize("times", [STEADY, UNSTEADY], ids=["25 fps", "any rate"])
@pytest.mark.parametrize(
    "x264",
    [
        "bframes=0",
        "bframes=3:b-pyramid=none",
        "bframes=8:b-adapt=0:ref=4",
        "bframes=3:open-gop=1:keyint=20:min-keyint=20",
        "bframes=3:slices=3:aud=1",
        "bframes=3:tff=1",
    ],
)
def test_frames_that_are_not_decoded_change_no_other_one(tmp_path, x264, times):
    clip = moving_clip(tmp_path / "clip.mp4", times, x264=x264)
    for fps in (1.0, 2.0, 5.0, 25.0):
        expected, found = first_of_intervals(clip, fps), frames_of(clip, fps)
        assert [number for number, _ in found] == [number for number, _ in expected]
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("name", "codec"), [("clip.mkv", "libx264"), ("clip.mp4", "mpeg4"), ("clip.ts", "libx264")])
def test_every_frame_of_other_files_is_decoded(tmp_path, name, codec):
    clip = moving_clip(tmp_path / name, STEADY, codec=codec)
    for fps in (1.0, 5.0):
        expected, found = first_of_intervals(clip, fps), frames_of(clip, fps)
        assert [number for number, _ in found] == [number for number, _ in expected]
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(found, expected, strict=True))


def damaged(clip: bytes, frame: int, at: int) -> bytes:
    """The clip with zeros from this byte of a frame on, which is counted as the file holds them."""
    with av.open(io.BytesIO(clip)) as container:
        place = [packet.pos for packet in container.demux(video=0)][frame] + at
    return clip[:place] + bytes(4) + clip[place + 4 :]


def test_damage_is_found_if_a_kept_frame_could_show_it(tmp_path):
    clip = moving_clip(tmp_path / "clip.mp4", STEADY, x264="bframes=1:b-adapt=0")  # in the file: I P B P B ...
    with pytest.raises(Rejected, match="damaged"):
        frames_of(damaged(clip, 47, at=4), 1.0)
    for frame in (48, 88, 89):
        with pytest.raises(Rejected, match="damaged"):
            frames_of(damaged(clip, frame, at=0), 1.0)
        found = frames_of(damaged(clip, frame, at=8), 1.0)
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(found, frames_of(clip, 1.0), strict=True))
