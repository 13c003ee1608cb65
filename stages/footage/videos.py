"""Frames of a video as a camera or a phone writes it: upright, with their time in seconds.

`stages.storage.media` rejects a clip that is cut short; here all frames that can be decoded are used and the error
comes after them, since nobody wants to lose an hour of video for its last second.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.error import FFmpegError

from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.media import Image

TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # hours, minutes, seconds
SLACK_S = 1.0  # a container may announce this much more than its video holds


class Frame(NamedTuple):
    number: int  # in the video, from 0
    time_s: float  # since the first frame, by timestamps
    image: Image  # (H, W, 3) uint8 RGB, turned as the metadata say


class Format(NamedTuple):
    width_px: int  # of an upright frame
    height_px: int
    fps: float  # on average
    frames: int | None  # as announced


def decoder() -> str:
    """Names and versions of the decoder."""
    return f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"


def ffmpeg_name(path: Path) -> str:
    """The path as FFmpeg wants it: absolute, since a relative one with a colon is read as a URL."""
    return str(path.absolute())


def frames(path: Path, fps: float | None = None, *, after: int = -1) -> Iterator[Frame]:
    """Every frame; with `fps`, the first frame of each interval of 1/fps seconds.

    Frames up to number `after` are decoded, since later ones depend on them, but not yielded.

    Raises:
        Rejected: no file, no video, or too large; or damaged or cut short, after the frames that can be used.
    """
    try:
        with av.open(ffmpeg_name(path)) as container:
            if not container.streams.video:
                raise Rejected("no video stream")
            yield from _decoded(container, container.streams.video[0], fps, after)
    except FFmpegError as error:
        raise Rejected("unreadable video", str(error.strerror)) from None


def read_format(path: Path) -> Format:
    """Size and rate of the video, from its first frame and its header.

    Raises:
        UserError: there is no frame that can be decoded.
    """
    try:
        first = next(frames(path))
        with av.open(ffmpeg_name(path)) as container:
            stream = container.streams.video[0]
            return Format(first.image.shape[1], first.image.shape[0], _rate(stream), _announced(stream))
    except Rejected as error:
        raise UserError(f"{path} should be a video that can be decoded, found otherwise: {error}") from None


def _decoded(container: Any, stream: Any, fps: float | None, after: int) -> Iterator[Frame]:
    stream.codec_context.thread_count = 1  # so that a damaged file ends at the same frame on every machine
    number, slot, first_s, time_s, damaged = -1, -1, None, 0.0, 0
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except FFmpegError:
            damaged += 1
            continue
        for frame in decoded:
            number += 1
            at_s = float(frame.time) if frame.time is not None else number / _rate(stream)
            first_s = at_s if first_s is None else first_s
            time_s = at_s - first_s
            now = number if fps is None else int(time_s * fps + 1e-6)
            if now > slot:
                slot = now
                if number > after:
                    yield Frame(number, time_s, _upright(frame))
    _check_end(container, stream, number + 1, time_s, damaged)


def _upright(frame: Any) -> Image:
    """The frame as a player shows it.

    Raises:
        Rejected: it is larger than any image may be.
    """
    if max(frame.width, frame.height) > media.MAX_SIDE_PX or frame.width * frame.height > media.MAX_PIXELS:
        raise Rejected("video too large", f"{frame.width}x{frame.height} px")
    image = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4  # counter-clockwise, as NumPy turns
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def _check_end(container: Any, stream: Any, decoded: int, time_s: float, damaged: int) -> None:
    """Check that the video ended where it should.

    Raises:
        Rejected: it did not; the detail says how much was decoded.
    """
    used = f"{decoded} frames, {time_s:.2f} s, could be decoded and are used"
    if not decoded:
        raise Rejected("no frame can be decoded")
    if _is_short(container, stream, decoded, time_s):
        raise Rejected("video is cut short", used)
    if damaged:
        raise Rejected("video is damaged", used)


def _is_short(container: Any, stream: Any, decoded: int, time_s: float) -> bool:
    """Whether frames and time are fewer than announced; frames alone may be fewer, since an edit list may hide some.

    If the stream announces neither, its tag is used (Matroska), else the duration of the file, unless there is sound,
    which may be longer.
    """
    if stream.frames:
        announced_s = float(stream.duration * stream.time_base) if stream.duration else float("inf")
        return decoded < stream.frames and time_s + 2 / _rate(stream) < announced_s
    if tag := TAG.match(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, tag.groups())
        return time_s + SLACK_S < 3600 * hours + 60 * minutes + seconds - start_s(stream)
    announced_s = container.duration / av.time_base if container.duration else 0.0
    return not container.streams.audio and time_s + SLACK_S < announced_s


def start_s(stream: Any) -> float:
    """Start time of the first frame by the container's clock."""
    return float(stream.start_time * stream.time_base) if stream.start_time else 0.0


def _rate(stream: Any) -> float:
    return float(stream.average_rate or media.SOURCE_FPS)


def _announced(stream: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    return round(float(stream.duration * stream.time_base) * _rate(stream)) if stream.duration else None
