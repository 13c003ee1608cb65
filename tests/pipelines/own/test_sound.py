from pathlib import Path

import av
import numpy as np
import pytest
from media_samples import drawn_faces
from own_samples import FACE, fabnet, image_file, moving, talking, video


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def heard(path: Path | str) -> list[tuple[float, np.ndarray]]:
    """Time and samples of each sound frame."""
    with av.open(str(path)) as container:
        return [(float(frame.time), frame.to_ndarray()) for frame in container.decode(audio=0)]


def tracks(path: Path | str) -> int:
    with av.open(str(path)) as container:
        return len(container.streams.audio)


def assert_same_sound(source: list[tuple[float, np.ndarray]], found: list[tuple[float, np.ndarray]], first_s: float):
    """From the first frame on that the decoder had both neighbours of."""
    ours = {round(time_s, 3): samples for time_s, samples in found[2:-1]}
    theirs = {round(time_s - first_s, 3): samples for time_s, samples in source}
    assert len(ours) > 4
    for time_s, samples in ours.items():
        np.testing.assert_array_equal(samples, theirs[time_s])


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_overlay_has_the_sound_of_the_video_at_its_time(tmp_path, model, suffix):
    source = talking(tmp_path / f"clip.{suffix}", 25)
    assert fabnet("overlay", source, "--out", "drawn.mp4", "--model", model) == 0
    assert_same_sound(heard(source), heard("drawn.mp4"), 0.0)
    assert len(heard("drawn.mp4")) >= len(heard(source)) - 1


def test_sound_before_the_first_frame_is_left_out_and_the_rest_stays_in_time(tmp_path, model):
    source = talking(tmp_path / "clip.mkv", 10, first_s=0.4)
    assert fabnet("overlay", source, "--out", "drawn.mp4", "--model", model) == 0
    found = heard("drawn.mp4")
    assert found[0][0] == pytest.approx(0.0, abs=0.1)
    assert_same_sound(heard(source), found, 0.4)


def test_animate_has_the_sound_of_the_driving_video(tmp_path, model):
    face = image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE))
    assert fabnet("animate", face, talking(tmp_path / "clip.mp4", 3), "--model", model) == 0
    assert_same_sound(heard("clip.mp4"), heard("animated.mp4"), 0.0)


def test_a_codec_that_mp4_cannot_hold_is_left_out_and_logged(tmp_path, model, logged):
    assert fabnet("overlay", talking(tmp_path / "clip.mkv", 3, codec="pcm_u8"), "--model", model) == 0
    assert tracks("clip.overlay.mp4") == 0
    assert "sound left out: mp4 does not hold pcm_u8" in logged.text


def test_a_video_without_sound_gets_none(tmp_path, model):
    assert fabnet("overlay", video(tmp_path / "clip.mp4", moving(3)), "--model", model) == 0
    assert tracks("clip.overlay.mp4") == 0


def test_a_cut_video_keeps_the_sound_that_it_has(tmp_path, model):
    source = talking(tmp_path / "clip.mkv", 25)
    source.write_bytes(source.read_bytes()[:-1500])
    assert fabnet("overlay", source, "--model", model) == 0
    assert tracks("clip.overlay.mp4") == 1
    assert_same_sound(heard(source), heard("clip.overlay.mp4"), 0.0)
