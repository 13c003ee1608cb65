"""Times that cannot be trusted: rebuilt so that every frame has its place, or the video is a reject."""

from itertools import pairwise

import av
import numpy as np
import pytest
from media_samples import moving_clip, noise
from video_files import joined, patched, restamped

from stages.footage import videos
from stages.runtime.errors import Rejected

COUNT = 30
TIMES = [k / 25 for k in range(COUNT)]
STEP = 512  # ticks of the MP4s' clock, 1/12800 s, from frame to frame
REORDERED, ORDERED = {"bf": "3", "b_strategy": "0"}, {"bf": "0"}


def clip(path, options=REORDERED):
    """A scene that moves, 25 frames a second."""
    scene = noise(256, 64)
    with av.open(str(path), "w") as container:
        codec = "mpeg2video" if path.suffix == ".mpg" else "libx264"
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for k in range(COUNT):
            image = np.ascontiguousarray(scene[:, 2 * k : 2 * k + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def places(path, fps=None):
    """Times of the frames, which must be numbered without a gap if all are asked for."""
    found = list(videos.frames(path, fps))
    if fps is None:
        assert [frame.number for frame in found] == list(range(len(found)))
    return [frame.time_s for frame in found]


def assert_all_frames(path, count=COUNT):
    assert places(path) == pytest.approx([k / 25 for k in range(count)], abs=2e-3)
    assert places(path, fps=5) == pytest.approx([k / 5 for k in range(count // 5)], abs=2e-3)
    assert len(list(videos.clip_frames(path.read_bytes(), 5.0))) == count // 5


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".mkv"])
def test_joined_parts_follow_each_other(tmp_path, suffix):
    part = clip(tmp_path / f"a{suffix}")
    assert_all_frames(joined(part, part), 2 * COUNT)


def test_parts_that_begin_at_a_far_later_time_follow_each_other(tmp_path):
    source = clip(tmp_path / "a.mp4")
    later = restamped(source, tmp_path / "b.ts", lambda _, pts, dts: (pts + 10**8, dts + 10**8))
    assert_all_frames(joined(restamped(source, tmp_path / "a.ts", lambda _, pts, dts: (pts, dts)), later), 2 * COUNT)


def test_a_pause_in_a_recording_keeps_its_length(tmp_path):
    times = [*TIMES[:10], *(at + 20 for at in TIMES[10:])]
    moving_clip(tmp_path / "a.mp4", times)
    assert places(tmp_path / "a.mp4") == pytest.approx(times, abs=2e-3)


def test_frames_that_all_have_the_same_time_are_counted(tmp_path):
    source = clip(tmp_path / "a.mp4", ORDERED)
    assert_all_frames(restamped(source, tmp_path / "a.mkv", lambda *_: (0, 0)))
    assert_all_frames(patched(source, b"stts", 12, 0))


@pytest.mark.parametrize("name", ["a.h264", "a.avi"])
def test_frames_without_times_are_counted(tmp_path, name):
    assert_all_frames(clip(tmp_path / name))


def test_times_in_decoding_order_are_put_into_the_order_of_display(tmp_path):
    source = clip(tmp_path / "a.mp4")
    assert_all_frames(restamped(source, tmp_path / "a.mkv", lambda _, __, dts: (dts + STEP, dts + STEP)))


def test_scrambled_times_are_sorted(tmp_path):
    order = np.random.default_rng(0).permutation(COUNT).tolist()
    source = clip(tmp_path / "a.mp4", ORDERED)
    out = restamped(source, tmp_path / "a.mkv", lambda k, _, __: ((order[k] + COUNT) * STEP, k * STEP))
    assert_all_frames(out)


def test_times_that_go_back_without_a_pattern_are_told_after_the_frames(tmp_path):
    swapped = [0, 2, -1, 1, -2]
    source = clip(tmp_path / "a.mp4", ORDERED)
    out = restamped(source, tmp_path / "b.mp4", lambda k, _, __: ((k + swapped[k % 5] + 10) * STEP, k * STEP))
    found = []
    with pytest.raises(Rejected, match="times cannot be trusted: 30 frames"):
        found.extend(videos.frames(out))
    assert len(found) == COUNT
    assert all(a.time_s < b.time_s and a.number < b.number for a, b in pairwise(found))


@pytest.mark.parametrize("options", [REORDERED, ORDERED])
@pytest.mark.parametrize(
    ("box", "at", "value"), [(b"mdhd", 12, 2**31 - 1), (b"mdhd", 12, 1), (b"stts", 12, 2**31 - 5), (b"stts", 12, 1)]
)
def test_a_scale_of_times_that_cannot_be_is_rejected(tmp_path, options, box, at, value):
    with pytest.raises(Rejected, match="times cannot be trusted"):
        places(patched(clip(tmp_path / "a.mp4", options), box, at, value))


def test_a_rate_that_nothing_tells_is_rejected(tmp_path):
    moving_clip(tmp_path / "a.mp4", TIMES, x264="bframes=0")
    with pytest.raises(Rejected, match=r"times cannot be trusted: .* no rate is announced"):
        places(restamped(tmp_path / "a.mp4", tmp_path / "a.mkv", lambda *_: (0, 0)))
