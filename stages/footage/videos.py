"""Frames of a video as a player shows them, with their times: the one reader of all videos.

First the packets tell the times and whether the video is all there (`packets`, `wholeness`), then the frames are
decoded; a large file is read twice for that. All frames that can be decoded whole are yielded, and the error comes
after them: nobody wants to lose an hour of video for its last second, and who cannot use half a clip learns of it.

A frame that is neither asked for nor needed for one that is may be left out by the decoder (`h264`): that it is there
is checked, not what is inside of it.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.error import FFmpegError

from stages.footage import containers, packets, wholeness
from stages.footage.containers import Source
from stages.footage.damage import Damage
from stages.footage.packets import Scan, rate
from stages.footage.pictures import Pictures
from stages.footage.reading import Frame, Reading, Slot, State, decoded
from stages.runtime import files, limits
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.media import SOURCE_FPS, Image


class Format(NamedTuple):
    width_px: int  # of an upright frame
    height_px: int
    fps: float  # on average
    frames: int | None  # as announced


def decoder() -> str:
    """Names and versions of the decoder."""
    return f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"


def frames(path: Path, fps: float | None = None, *, after: int = -1) -> Iterator[Frame]:
    """Every frame that is not hidden by an edit list; with `fps`, the first one of each interval of 1/fps seconds.

    Frames up to number `after` are decoded, since later ones depend on them, but not yielded.

    Raises:
        Rejected: no file, no video, too large, or without times that can be trusted; or damaged or cut short, after the
            frames that can be used.
        OSError: the disk fails.
    """
    slot = None if fps is None else lambda time_s: int(time_s * fps + 1e-6)
    return _read(path, slot, after)


def clip_frames(clip: bytes, fps: float) -> Iterator[tuple[int, Image]]:
    """The first frame of every interval of 1/fps seconds.

    Yields:
        Frame number at 25 fps by its time, 0 for the first frame, ascending; and the image.

    Raises:
        Rejected: see `frames`; or longer than `limits.video_s`. It may come after some frames.
    """
    for frame in _read(clip, lambda time_s: media.grid_slot(round(time_s * SOURCE_FPS), fps), after=-1):
        if frame.time_s > (most := limits.now().video_s):
            raise Rejected("video too long", f"more than {most:g} s")
        yield round(frame.time_s * SOURCE_FPS), frame.image


def read_format(path: Path) -> Format:
    """Size and rate of the video, from its first frame and its header.

    Raises:
        UserError: there is no frame that can be decoded.
        OSError: the disk fails.
    """
    try:
        with containers.opened(path) as (container, stream):
            pictures = Pictures(stream)
            first = next(decoded(stream, _readable(container, stream), Damage()), None)
            if first is None:
                raise Rejected("no frame can be decoded")
            height, width = pictures.image(first).shape[:2]
            return Format(width, height, rate(stream), _announced(stream))
    except Rejected as error:
        files.read_through(path)
        raise UserError(f"{path} should be a video that can be decoded, found otherwise: {error}") from None


def _announced(stream: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    return round(float(stream.duration * stream.time_base) * rate(stream)) if stream.duration else None


def _read(source: Source, slot: Slot | None, after: int) -> Iterator[Frame]:
    """The frames; where the video cannot be used for the disk's sake, that is no reject."""
    try:
        yield from _readable_frames(source, slot, after)
    except Rejected:
        if isinstance(source, Path):
            files.read_through(source)
        raise


def _readable_frames(source: Source, slot: Slot | None, after: int) -> Iterator[Frame]:
    with containers.opened(source) as (container, stream):
        found = packets.scan(container, stream)
        if not found.is_shown.any():
            raise Rejected("no frame can be decoded")
        times = packets.times(found, container, stream)
        state = _state(source, container, stream, found)
        reading = Reading(stream, times, slot)
        if found.kept is not None:
            yield from reading.frames(found.kept, state, after)
    if found.kept is None:
        with containers.opened(source) as (container, stream):
            reading = Reading(stream, times, slot)
            yield from reading.frames(_readable(container, stream), state, after)
    reading.check_end(state)


def _state(source: Source, container: Any, stream: Any, found: Scan) -> State:
    try:
        with containers.as_file(source) as file:
            is_cut = wholeness.is_cut(file, container, stream, found)
            torn = wholeness.torn(file, container, stream, found)
    except OSError as error:
        raise Rejected("unreadable video", str(error.strerror)) from None
    whole = len(found.pts) - (is_cut and wholeness.may_end_within_a_frame(container, found))
    return State(whole, torn, is_cut, bool(found.error))


def _readable(container: Any, stream: Any) -> Iterator[Any]:
    """The packets up to an error of the container, which `packets.scan` tells."""
    with suppress(FFmpegError):
        yield from packets.data_packets(container, stream)
