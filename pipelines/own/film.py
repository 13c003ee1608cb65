"""An mp4 of images that keep their times, with the sound of the video that they were drawn from.

It appears whole under its name or not at all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from fabnet.images import resize
from pipelines.own.sound import END_S, Play, sound
from stages.footage.containers import ffmpeg_name
from stages.runtime import files
from stages.runtime.outputs import alone
from stages.storage.media import Image

TICKS = 90_000  # a second
H264 = {"preset": "veryfast", "crf": "18"}

Write = Callable[[Image, float], None]  # RGB image and its time in seconds


@contextmanager
def film(out: Path, width_px: int, height_px: int, fps: float, *, sound_of: Path) -> Iterator[Write]:
    """A function that writes the next image; H.264 wants even sides, so an odd one loses its last line of pixels.

    An image of another size, since a video may change its size midway, is fitted into that of the film. The sound of
    the video `sound_of` is copied, if there is any.

    Raises:
        UserError: another run writes `out`.
    """
    only_run = alone(out.with_name(f".{out.name}.partial"), str(out))
    with only_run, files.whole(out) as partial, av.open(ffmpeg_name(partial), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=H264)
        stream.width, stream.height = width_px // 2 * 2, height_px // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        with sound(sound_of, container) as play:
            yield _writer(container, stream, play)
            container.mux(stream.encode())
            play(END_S)


def fitted(image: Image, width_px: int, height_px: int) -> Image:
    """The image in the size of the film: without an odd last line, or scaled with its shape kept, black beside it."""
    height, width = image.shape[:2]
    if (width // 2 * 2, height // 2 * 2) == (width_px, height_px):
        return np.ascontiguousarray(image[:height_px, :width_px])
    scale = min(width_px / width, height_px / height)
    shown = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    x, y = (width_px - shown.shape[1]) // 2, (height_px - shown.shape[0]) // 2
    whole = np.zeros((height_px, width_px, 3), np.uint8)
    whole[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    return whole


def _writer(container: Any, stream: Any, play: Play) -> Write:
    last = -1

    def write(image: Image, time_s: float) -> None:
        nonlocal last
        frame = av.VideoFrame.from_ndarray(fitted(image, stream.width, stream.height), format="rgb24")
        last = max(last + 1, round(time_s * TICKS))  # FFmpeg refuses a time that does not rise
        frame.pts, frame.time_base = last, Fraction(1, TICKS)
        container.mux(stream.encode(frame))
        play(time_s)

    return write
