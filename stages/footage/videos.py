"""Frames of a video as a player shows them, with their times: the one reader of all videos.

First the packets tell the times and whether the video is all there (`packets`, `wholeness`), then the frames are
decoded; a large file is read twice for that. All frames that can be decoded whole are yielded, and the error comes
after them: nobody wants to lose an hour of video for its last second, and who cannot use half a clip learns of it.

A frame that is neither asked for nor needed for one that is may be left out by the decoder (`h264`): that it is there
is checked, not what is inside of it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.error import FFmpegError

from stages.footage import containers, h264, packets, wholeness
from stages.footage.containers import Source
from stages.footage.damage import Damage
from stages.footage.packets import Times, rate
from stages.footage.pictures import Pictures
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.media import SOURCE_FPS, Image

TIE_S = 0.001  # between frames whose stamps do not rise

Slot = Callable[[float], int]  # the number of the interval that a time in seconds falls into


class Frame(NamedTuple):
    number: int  # in the video, from 0
    time_s: float  # since the first frame, rising
    image: Image  # (H, W, 3) uint8 RGB, turned and mirrored as the metadata say, with square pixels


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
    """
    slot = None if fps is None else lambda time_s: int(time_s * fps + 1e-6)
    return _read(path, slot, after)


def clip_frames(clip: bytes, fps: float) -> Iterator[tuple[int, Image]]:
    """The first frame of every interval of 1/fps seconds.

    Yields:
        Frame number at 25 fps by its time, 0 for the first frame, ascending; and the image.

    Raises:
        Rejected: see `frames`; or longer than `media.MAX_VIDEO_S`. It may come after some frames.
    """
    for frame in _read(clip, lambda time_s: media.grid_slot(round(time_s * SOURCE_FPS), fps), after=-1):
        if frame.time_s > media.MAX_VIDEO_S:
            raise Rejected("video too long", f"more than {media.MAX_VIDEO_S} s")
        yield round(frame.time_s * SOURCE_FPS), frame.image


def read_format(path: Path) -> Format:
    """Size and rate of the video, from its first frame and its header.

    Raises:
        UserError: there is no frame that can be decoded.
    """
    try:
        with containers.opened(path) as (container, stream):
            pictures = Pictures(stream)
            first = next(_decoded(stream, _readable(container, stream), Damage()), None)
            if first is None:
                raise Rejected("no frame can be decoded")
            height, width = pictures.image(first).shape[:2]
            return Format(width, height, rate(stream), _announced(stream))
    except Rejected as error:
        raise UserError(f"{path} should be a video that can be decoded, found otherwise: {error}") from None


def _announced(stream: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    return round(float(stream.duration * stream.time_base) * rate(stream)) if stream.duration else None


def _read(source: Source, slot: Slot | None, after: int) -> Iterator[Frame]:
    with containers.opened(source) as (container, stream):
        found = packets.scan(container, stream)
        if not found.is_shown.any():
            raise Rejected("no frame can be decoded")
        times = packets.times(found, container, stream)
        is_cut = wholeness.is_cut(source, container, stream, found)
        whole = len(found.pts) - (is_cut and wholeness.may_end_within_a_frame(container, found))
        reading = _Reading(stream, times, slot)
        if found.kept is not None:
            yield from reading.frames(_shifted(found.kept[:whole], times), after)
    if found.kept is None:
        with containers.opened(source) as (container, stream):
            reading = _Reading(stream, times, slot)
            yield from reading.frames(_shifted(islice(_readable(container, stream), whole), times), after)
    reading.check_end(is_cut, bool(found.error))


def _readable(container: Any, stream: Any) -> Iterator[Any]:
    """The packets up to an error of the container, which `packets.scan` tells."""
    with suppress(FFmpegError):
        yield from packets.data_packets(container, stream)


def _shifted(taken: Iterable[Any], times: Times) -> Iterator[Any]:
    """The packets, those of joined parts behind each other."""
    for number, packet in enumerate(taken):
        if times.shifts is not None and packet.pts is not None:
            packet.pts += int(times.shifts[number])
        yield packet


def _decoded(stream: Any, taken: Iterable[Any], damage: Damage) -> Iterator[Any]:
    """The frames that are not torn by damage, which is counted."""
    for packet in chain(taken, [None]):  # None brings the frames that the decoder still holds
        stamp = None if packet is None else packet.pts
        try:
            decoded = stream.decode(packet)
        except FFmpegError:
            damage.lost(stamp)
            continue
        damage.sent(stamp)
        yield from (frame for frame in decoded if not damage.tears(frame))


class _Reading:
    """The frames of one video that are asked for, with their numbers and times."""

    def __init__(self, stream: Any, times: Times, slot: Slot | None) -> None:
        self._stream, self._times, self._slot = stream, times, slot
        self._stamps: list[int] = times.stamps.tolist()
        self._pictures, self._damage = Pictures(stream), Damage()
        self._length_bytes = 0 if times.is_listed or times.shifts is not None else h264.length_bytes(stream)
        self._frames, self._number, self._time_s, self._backward = 0, -1, -1.0, 0
        self._first_s = times.seconds(self._stamps[0]) if self._length_bytes else None

    def frames(self, taken: Iterable[Any], after: int) -> Iterator[Frame]:
        """Those with a number above `after`."""
        if self._slot is not None and self._length_bytes:
            taken = h264.needed(taken, self._length_bytes, self._wanted(self._slot).__contains__)
        slot = -1
        for frame in _decoded(self._stream, taken, self._damage):
            number, time_s = self._place(frame)
            self._frames, self._number, self._time_s = self._frames + 1, number, time_s
            now = slot + 1 if self._slot is None else self._slot(time_s)
            if now > slot:
                slot = now
                if number > after:
                    yield Frame(number, time_s, self._pictures.image(frame))

    def check_end(self, is_cut: bool, is_unreadable: bool) -> None:
        """Check that the video ended where it should, and that nothing was left out.

        Raises:
            Rejected: it did not; the detail says how much was decoded.
        """
        used = f"{self._frames} frames, {self._time_s:.2f} s, could be decoded and are used"
        if is_cut:
            raise Rejected("video is cut short", used if self._frames else "no frame can be decoded")
        if not self._frames:
            raise Rejected("no frame can be decoded")
        if self._damage.left_out or is_unreadable:
            raise Rejected("video is damaged", f"{used}, {self._damage.left_out} are torn and left out")
        if self._backward:
            raise Rejected("times cannot be trusted", f"{used}, {self._backward} of them go back in time")

    def _place(self, frame: Any) -> tuple[int, float]:
        """Number and time of a frame, after those of the one before."""
        stamps, number = self._stamps, self._frames + self._damage.left_out
        stamp = frame.pts
        if self._times.is_listed:
            stamp = stamps[number] if number < len(stamps) else None
        elif self._length_bytes:
            number = max(self._number + 1, bisect_left(stamps, stamp))
        if stamp is None:
            return number, self._time_s + 1 / rate(self._stream)
        at_s = self._times.seconds(stamp)
        self._first_s = at_s if self._first_s is None else self._first_s
        time_s = at_s - self._first_s
        self._backward += time_s < self._time_s - TIE_S
        return number, time_s if time_s > self._time_s else self._time_s + TIE_S

    def _wanted(self, slot: Slot) -> set[int]:
        """Time stamps of the first frame of each interval."""
        wanted: dict[int, int] = {}
        for stamp in self._stamps:
            wanted.setdefault(slot(self._times.seconds(stamp) - (self._first_s or 0.0)), stamp)
        return set(wanted.values())
