"""What the packets of a video say about its times, read before anything is decoded.

Time stamps are used as they are where they can be. Parts that were joined each begin at a time of their own: they are
moved behind each other. Stamps that are absent, repeated or out of order are replaced: frames then follow each other
at the rate of the video.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop
from itertools import pairwise
from typing import Any

import numpy as np
from av.error import FFmpegError
from av.format import Flags
from numpy.typing import NDArray

from stages.footage.h264 import PROGRESSIVE
from stages.runtime.errors import Rejected
from stages.storage.media import SOURCE_FPS

JUMP_S = 10.0  # forward, in a stream that may jump: FFmpeg's dts_delta_threshold
BACK_S = 1.0  # what a decoding time goes back at least if another part begins there
RATES = 1 / 3_600, 1_000.0  # frames a second on average; beyond these, times are no times
CUT_RATES = 0.1, 480.0  # of a video with an edit list, which hides nearly all frames if the scale of times is wrong
COUNTED_RATES = 1.0, 240.0  # that are believed where time stamps cannot be
MAX_KEPT_BYTES = 2**25
UNKNOWN, MAX_STAMP = -(2**63), 2**56  # a later stamp is no time

Stamps = NDArray[np.int64]


@dataclass(frozen=True)
class Scan:
    """All packets of a stream, in decoding order."""

    pts: Stamps  # UNKNOWN where there is none
    dts: Stamps
    is_key: NDArray[np.bool_]
    is_shown: NDArray[np.bool_]  # False where an edit list hides the frame
    places: Stamps  # in the file, in bytes; -1 where that is not known
    is_last_whole: bool
    error: str  # why the rest cannot be read; empty at the end of the file
    kept: list[Any] | None  # the packets themselves; None if they take more than MAX_KEPT_BYTES


@dataclass(frozen=True)
class Times:
    """When the frames of a stream are shown."""

    stamps: Stamps  # of all frames that are shown, ascending
    tick_s: tuple[int, int]  # numerator and denominator
    shifts: Stamps | None = None  # what is added to the stamps of each packet; None: nothing
    is_listed: bool = False  # the next frame has the next of `stamps`, whatever its own says

    def seconds(self, stamp: int) -> float:
        """The stamp in seconds."""
        return stamp * self.tick_s[0] / self.tick_s[1]


def data_packets(container: Any, stream: Any) -> Iterator[Any]:
    """All packets that hold data."""
    return (packet for packet in container.demux(stream) if packet.size)


def scan(container: Any, stream: Any) -> Scan:
    """What the packets say; nothing is decoded."""
    rows: list[tuple[int, int, bool, bool, int]] = []
    kept: list[Any] | None = []
    free_bytes, is_corrupt, error = MAX_KEPT_BYTES, False, ""
    try:
        for packet in data_packets(container, stream):
            rows.append(
                (_known(packet.pts), _known(packet.dts), packet.is_keyframe, not packet.is_discard, _place(packet))
            )
            is_corrupt = packet.is_corrupt
            free_bytes -= packet.size
            if kept is not None:
                kept.append(packet)
                kept = kept if free_bytes >= 0 else None
    except FFmpegError as raised:
        error = str(raised.strerror)
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Scan(columns[0], columns[1], columns[2] != 0, columns[3] != 0, columns[4], not is_corrupt, error, kept)


def _place(packet: Any) -> int:
    return -1 if packet.pos is None else packet.pos


def _known(stamp: int | None) -> int:
    return UNKNOWN if stamp is None or abs(stamp) > MAX_STAMP else stamp


def times(found: Scan, container: Any, stream: Any) -> Times:
    """When the frames are shown.

    Raises:
        Rejected: the time stamps cannot be, and nothing else says how fast the frames follow each other.
    """
    base = stream.time_base
    tick_s = base.numerator, base.denominator
    if container.format.name.startswith("mov,") and found.is_shown.sum() < stream.frames:
        _check_cut(stream, tick_s)
    is_known = found.is_shown & (found.pts != UNKNOWN)
    if 2 * is_known.sum() < found.is_shown.sum():
        return _counted(found, stream)
    starts = _parts(found, tick_s, may_jump(container))
    if len(starts) > 1 + is_known.sum() / 10:
        starts = starts[:1]  # these are not parts, but stamps in disorder
    shifts = _shifts(found.pts, is_known, starts, max(1, round(1 / (rate(stream) * base))))
    shifted = (found.pts + shifts)[is_known]
    stamps = np.unique(shifted)
    if 2 * len(stamps) < len(shifted):
        return _counted(found, stream)
    _check(int(np.ptp(stamps)), len(stamps), tick_s, RATES)
    return Times(stamps, tick_s, shifts if shifts.any() else None, _is_unsorted(shifted.tolist(), stream))


def may_jump(container: Any) -> bool:
    """Whether times may jump forward where nothing is missing, as in recordings of broadcasts."""
    return bool(container.format.flags & Flags.ts_discont.value)


def rate(stream: Any) -> float:
    """Frames a second on average, as announced; else the rate that frame numbers count at."""
    return float(stream.average_rate or SOURCE_FPS)


def _parts(found: Scan, tick_s: tuple[int, int], is_jumpy: bool) -> list[int]:
    """Where each of the joined parts begins.

    A key frame is shown after all that are decoded before it; where one is not, another part begins.
    """
    second = tick_s[1] / tick_s[0]
    starts, newest, last = [0], UNKNOWN, UNKNOWN
    columns = found.pts.tolist(), found.dts.tolist(), found.is_key.tolist()
    for number, (pts, dts, is_key) in enumerate(zip(*columns, strict=True)):
        is_back = dts != UNKNOWN and dts < last - BACK_S * second
        last = dts if dts != UNKNOWN else last
        if pts == UNKNOWN:
            continue
        is_ahead = is_jumpy and pts > newest + JUMP_S * second
        if newest != UNKNOWN and (is_back or is_ahead or (is_key and pts <= newest)):
            starts.append(number)
            newest = pts
        newest = max(newest, pts)
    return starts


def _shifts(pts: Stamps, is_known: NDArray[np.bool_], starts: Sequence[int], step: int) -> Stamps:
    """For each packet what makes its part follow the one before, a frame later.

    Raises:
        Rejected: the parts together are too long.
    """
    shifts, end, shift = np.zeros(len(pts), np.int64), None, 0
    for first, after in zip(starts, [*starts[1:], len(pts)], strict=True):
        of_part = pts[first:after][is_known[first:after]].tolist()
        if not of_part:
            continue
        shift = 0 if end is None else end - min(of_part)
        end = max(of_part) + shift + step
        if end > 2 * MAX_STAMP:
            raise Rejected("times cannot be trusted", f"{len(starts)} parts that are too long")
        shifts[first:after] = shift
    return shifts


def _is_unsorted(stamps: Sequence[int], stream: Any) -> bool:
    """Whether frames come out of the decoder in another order than their stamps.

    A frame is decoded after at most so many that are shown after it as the decoder holds back, twice as many if they
    are fields; and if it holds some back, they are not decoded in the order of display. Frames with the same stamp have
    none of their own.
    """
    context = stream.codec_context
    if context.codec.reorder and len(set(stamps)) < 0.9 * len(stamps):
        return True
    most = context.reorder_depth if context.field_order == PROGRESSIVE else 2 * context.reorder_depth + 1
    if context.codec.reorder and context.reorder_depth and len(stamps) > 2 and all(a < b for a, b in pairwise(stamps)):
        return True
    newest: list[int] = []  # the latest stamps so far, the earliest of them first
    for stamp in stamps:
        if len(newest) > most and stamp < newest[0]:
            return True
        (heappush if len(newest) <= most else heappushpop)(newest, stamp)
    return False


def _counted(found: Scan, stream: Any) -> Times:
    """Frames one after the other at the rate of the video."""
    announced = stream.guessed_rate
    if not announced or not COUNTED_RATES[0] <= announced <= COUNTED_RATES[1]:
        raise Rejected("times cannot be trusted", "time stamps are missing or repeat, and no rate is announced")
    return Times(np.arange(found.is_shown.sum()), (announced.denominator, announced.numerator), is_listed=True)


def _check_cut(stream: Any, tick_s: tuple[int, int]) -> None:
    """Check the rate of a video of which an edit list hides frames.

    Raises:
        Rejected: it is not possible: where the scale of times is wrong, the list hides nearly all of them.
    """
    stamps = [entry.timestamp for entry in stream.index_entries] or [0]
    _check(max(stamps) - min(stamps), len(stamps), tick_s, CUT_RATES)
    if not CUT_RATES[0] <= rate(stream) <= CUT_RATES[1]:
        raise Rejected("times cannot be trusted", f"{rate(stream):g} frames a second")


def _check(span_ticks: int, frames: int, tick_s: tuple[int, int], rates: tuple[float, float]) -> None:
    """Check that frames follow each other at a rate that is possible.

    Raises:
        Rejected: they do not.
    """
    span_s = span_ticks * tick_s[0] / tick_s[1]
    if frames > 2 and not rates[0] * span_s <= frames - 1 <= rates[1] * span_s:
        raise Rejected("times cannot be trusted", f"{frames} frames in {span_s:g} s")
