import gc
from fractions import Fraction

import av
import numpy as np
import pytest
from own_samples import turned, video

from stages.footage import pictures, videos
from stages.runtime.errors import Rejected

ORIENTATIONS = {  # display matrix (a, b, c, d) -> corner of the white quarter that is stored at the top right
    (1, 0, 0, 1): "top right",
    (-1, 0, 0, 1): "top left",
    (1, 0, 0, -1): "bottom right",
    (-1, 0, 0, -1): "bottom left",
    (0, 1, -1, 0): "bottom right",
    (0, -1, 1, 0): "top left",
    (0, 1, 1, 0): "bottom left",
    (0, -1, -1, 0): "top right",
}


def white_quarter() -> np.ndarray:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, 48:] = 255
    return image


def corner(image: np.ndarray) -> str:
    """Where the image is white."""
    grey, (height, width) = image.mean(axis=2), image.shape[:2]
    parts = {"top left": grey[: height // 2, : width // 2], "top right": grey[: height // 2, width // 2 :]}
    parts |= {"bottom left": grey[height // 2 :, : width // 2], "bottom right": grey[height // 2 :, width // 2 :]}
    (found,) = [name for name, part in parts.items() if part.mean() > 200]
    return found


@pytest.mark.parametrize(("matrix", "expected"), ORIENTATIONS.items())
def test_all_eight_orientations_are_shown_as_a_player_does(tmp_path, matrix, expected):
    path = turned(video(tmp_path / "a.mp4", [white_quarter()] * 3), matrix)
    (image,) = [frame.image for frame in videos.frames(path, fps=1)]
    assert image.shape == ((64, 96, 3) if matrix[0] else (96, 64, 3))
    assert corner(image) == expected


def test_the_nearest_of_the_eight_orientations_is_taken():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(pictures.turned(image, (60_000, -9_000, 9_000, 60_000)), image)
    assert np.array_equal(pictures.turned(image, (9_000, 60_000, -60_000, 9_000)), np.rot90(image, -1))
    assert np.array_equal(pictures.turned(image, (0, 0, 0, 0)), image)


def wide(path, aspect: Fraction):
    """A black disc on white whose pixels are `aspect` times as wide as high, so that it is a circle when shown."""
    rows, columns = np.mgrid[:144, :180]
    disc = ((columns - 90) * float(aspect)) ** 2 + (rows - 72) ** 2 > 40**2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if path.suffix != ".mpg" else "mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 180, 144, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        image = np.repeat(disc[..., None] * np.uint8(255), 3, axis=2)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mpg"])
def test_pixels_become_square(tmp_path, suffix):
    path = wide(tmp_path / f"a{suffix}", Fraction(64, 45))
    image = next(videos.frames(path)).image
    assert image.shape == (144, 256, 3)
    dark = image.mean(axis=2) < 128
    assert np.ptp(np.nonzero(dark.any(axis=0))) == pytest.approx(np.ptp(np.nonzero(dark.any(axis=1))), abs=3)
    assert videos.read_format(path)[:2] == (256, 144)


def test_a_turned_picture_is_widened_before_it_is_turned(tmp_path):
    path = turned(wide(tmp_path / "a.mp4", Fraction(2)), (0, 1, -1, 0))
    assert next(videos.frames(path)).image.shape == (360, 144, 3)


def test_a_picture_that_would_be_too_large_when_shown_is_rejected(tmp_path):
    with pytest.raises(Rejected, match="video too large: 18000x144 px"):
        next(videos.frames(wide(tmp_path / "a.mp4", Fraction(100))))


def test_the_pixels_of_a_frame_are_free_as_soon_as_nobody_needs_it(tmp_path):
    path = video(tmp_path / "a.mp4", [white_quarter()] * 20)
    gc.collect()
    gc.disable()
    try:
        for _ in videos.frames(path):
            pass
        assert sum(type(found) is av.VideoFrame for found in gc.get_objects()) <= 1
    finally:
        gc.enable()
