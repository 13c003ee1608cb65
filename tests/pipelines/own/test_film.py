from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from own_samples import fabnet, moving, talking, video
from video_files import joined

from pipelines.own.film import film
from stages.footage import videos


def white(width, height):
    return np.full((height, width, 3), 255, np.uint8)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def grown(path):
    """A video whose frames are twice as large from the middle on."""
    small, large = moving(6), [image.repeat(2, 0).repeat(2, 1) for image in moving(6)]
    return joined(video(path.with_name("a.ts"), small), video(path.with_name("b.ts"), large))


def test_later_frames_of_another_size_are_scaled_to_that_of_the_film(tmp_path, model):
    source = grown(tmp_path / "grows.ts")
    sizes = [frame.image.shape[:2] for frame in videos.frames(source)]
    assert sizes == [(240, 320)] * 6 + [(480, 640)] * 6
    assert fabnet("overlay", source, "--out", "drawn.mp4", "--model", model) == 0
    found = [frame.image for frame in videos.frames(tmp_path / "drawn.mp4")]
    assert len(found) == 12
    assert np.abs(found[11].astype(int) - found[5]).mean() < 4


def test_another_shape_is_kept_with_black_beside_it(tmp_path):
    with film(tmp_path / "a.mp4", 64, 48, 25, sound_of=video(tmp_path / "b.mp4", moving(1))) as write:
        write(white(64, 48), 0.0)
        write(white(48, 96), 0.04)
        write(white(96, 48), 0.08)
    same, high, wide = (frame.image.mean(axis=2) for frame in videos.frames(tmp_path / "a.mp4"))
    assert same.min() > 230
    assert (high[24, [4, 32, 60]] > 128).tolist() == [False, True, False]
    assert (wide[[4, 24, 44], 32] > 128).tolist() == [False, True, False]


def test_the_film_of_joined_parts_lasts_as_long_as_they_do_together(tmp_path, model):
    source = joined(*[talking(tmp_path / "a.ts", 10)] * 2)
    assert fabnet("overlay", source, "--out", "drawn.mp4", "--model", model) == 0
    times = [frame.time_s for frame in videos.frames(tmp_path / "drawn.mp4")]
    assert times == pytest.approx([k / 25 for k in range(20)], abs=2e-3)
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        heard = [packet.dts for packet in container.demux(audio=0) if packet.dts is not None]
    assert heard == sorted(set(heard))


def test_the_overlay_of_wide_pixels_has_the_shape_that_a_player_shows(tmp_path, model):
    with av.open("wide.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 240, 240, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for image in moving(2):
            narrow = cv2.resize(image, (240, 240))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(narrow, format="rgb24")))
        container.mux(stream.encode())
    assert fabnet("overlay", "wide.mp4", "--out", "drawn.mp4", "--model", model) == 0
    with av.open("drawn.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio or 1) == (320, 240, 1)
