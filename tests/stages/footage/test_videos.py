import sys

import numpy as np
import pytest
from media_samples import level, moving_clip, mp4
from own_samples import CLOCKWISE, moving, sound, talking, turned, video

from stages.footage import videos
from stages.runtime.errors import Rejected, UserError

UNEVEN = [0.0, 0.04, 0.5, 0.54, 0.58, 1.5, 1.54]  # s


def read(path, fps=None, after=-1):
    return list(videos.frames(path, fps, after=after))


def until_rejected(path):
    """The frames that came before the reason, and the reason."""
    taken, reason = [], ""
    try:
        for frame in videos.frames(path):
            taken.append(frame)
    except Rejected as rejected:
        reason = str(rejected)
    return taken, reason


def grey(count):
    """Frames that differ by 10 grey levels each."""
    return [np.full((64, 96, 3), 20 + 10 * k, np.uint8) for k in range(count)]


def test_times_follow_the_timestamps(tmp_path):
    found = read(video(tmp_path / "vfr.mp4", grey(7), UNEVEN))
    assert [frame.number for frame in found] == list(range(7))
    assert [frame.time_s for frame in found] == pytest.approx(UNEVEN, abs=2e-3)


def test_the_first_frame_of_every_interval_is_used(tmp_path):
    found = read(video(tmp_path / "vfr.mp4", grey(7), UNEVEN), fps=2)
    assert [frame.number for frame in found] == [0, 2, 5]
    assert [round((frame.image.mean() - 20) / 10) for frame in found] == [0, 2, 5]


def test_a_rate_above_that_of_the_video_gives_all_frames(tmp_path):
    assert len(read(video(tmp_path / "vfr.mp4", grey(7), UNEVEN), fps=1000)) == 7


def test_frames_up_to_a_given_one_are_left_out(tmp_path):
    path = video(tmp_path / "a.mp4", grey(9))
    assert [frame.number for frame in read(path, fps=5, after=4)] == [5]


def test_the_format_is_that_of_the_upright_frame(tmp_path):
    path = turned(video(tmp_path / "phone.mp4", grey(3)), CLOCKWISE)
    assert videos.read_format(path) == (64, 96, 25.0, 3)


def test_a_cut_video_gives_its_frames_and_then_the_error(tmp_path):
    (tmp_path / "cut.mp4").write_bytes(mp4(tmp_path, 40, faststart=True)[:-1000])
    taken, reason = until_rejected(tmp_path / "cut.mp4")
    assert reason.startswith(f"video is cut short: {len(taken)} frames, ")
    assert len(taken) > 3
    assert all(abs(level(frame.image) - 8 * frame.number) < 6 for frame in taken)


def test_a_damaged_section_is_skipped_up_to_the_next_key_frame_and_reported(tmp_path):
    data = bytearray(moving_clip(tmp_path / "bad.mp4", [k / 25 for k in range(120)], x264="keyint=20:min-keyint=20"))
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 300] = bytes(300)
    (tmp_path / "bad.mp4").write_bytes(data)
    taken, reason = until_rejected(tmp_path / "bad.mp4")
    assert reason.startswith(f"video is damaged: {len(taken)} frames, ")
    assert 60 < len(taken) < 120
    assert taken[-1].time_s == pytest.approx(119 / 25)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a file whose start cannot be read")
def test_a_video_that_the_disk_cannot_read_is_no_reject(tmp_path):
    (tmp_path / "a.mp4").symlink_to("/proc/self/mem")
    for used in (read, videos.read_format):
        with pytest.raises(OSError, match="Input/output error"):
            used(tmp_path / "a.mp4")


@pytest.mark.parametrize("content", [b"", b"no video", bytes(10_000)])
def test_files_that_are_not_videos_are_rejected(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(Rejected, match="unreadable video"):
        read(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="should be a video"):
        videos.read_format(tmp_path / "a.mp4")


def test_a_file_with_sound_alone_is_rejected(tmp_path):
    with pytest.raises(Rejected, match="no video stream"):
        read(sound(tmp_path / "a.mp4"))


def test_a_whole_video_in_another_container_is_not_rejected(tmp_path):
    assert len(read(video(tmp_path / "a.mkv", moving(30)))) == 30


def test_a_cut_matroska_video_with_sound_is_rejected_after_its_frames(tmp_path):
    path = talking(tmp_path / "a.mkv", 100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found: list[videos.Frame] = []
    with pytest.raises(Rejected, match="video is cut short"):
        found.extend(videos.frames(path))


def test_a_whole_matroska_video_with_sound_is_not_rejected(tmp_path):
    assert len(list(videos.frames(talking(tmp_path / "a.mkv", 30, first_s=2.0)))) == 30
