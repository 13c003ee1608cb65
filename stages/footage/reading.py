"""Packets decoded to the frames that are asked for, with their numbers and times."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from av.error import FFmpegError

from stages.footage import h264
from stages.footage.damage import Damage
from stages.footage.packets import Times, rate
from stages.footage.pictures import Pictures
from stages.runtime.errors import Rejected
from stages.storage.media import Image

TIE_S = 0.001  # between frames whose stamps do not rise

Slot = Callable[[float], int]  # the number of the interval that a time in seconds falls into


class Frame(NamedTuple):
    number: int  # in the video, from 0
    time_s: float  # since the first frame, rising
    image: Image  # (H, W, 3) uint8 RGB, turned and mirrored as the metadata say, with square pixels


class State(NamedTuple):
    """What the container tells of its packets."""

    whole: int  # packets that are there from the first on
    torn: frozenset[int]  # numbers of those that are not whole
    is_cut: bool
    is_unreadable: bool


def decoded(stream: Any, taken: Iterable[Any], damage: Damage) -> Iterator[Any]:
    """The frames that are not torn by damage, which is counted."""
    for packet in chain(taken, [None]):  # None brings the frames that the decoder still holds
        stamp = None if packet is None else packet.pts
        try:
            decoded = stream.decode(packet)
        except FFmpegError:
            damage.lost(stamp)
            continue
        damage.sent(stamp, is_shown=packet is not None and not packet.is_discard)
        yield from (frame for frame in decoded if not damage.tears(frame))


class Reading:
    """The frames of one video that are asked for, with their numbers and times."""

    def __init__(self, stream: Any, times: Times, slot: Slot | None) -> None:
        self._stream, self._times, self._slot = stream, times, slot
        self._stamps: list[int] = times.stamps.tolist()
        self._pictures, self._damage = Pictures(stream), Damage()
        self._length_bytes = 0 if times.is_listed or times.shifts is not None else h264.length_bytes(stream)
        self._frames, self._number, self._time_s, self._backward = 0, -1, -1.0, 0
        self._unlisted = 0  # packets without a frame whose stamps are out of the list
        self._first_s = times.seconds(self._stamps[0]) if self._length_bytes else None

    def frames(self, all_packets: Iterable[Any], state: State, after: int) -> Iterator[Frame]:
        """Those with a number above `after`."""
        taken = self._sound(islice(all_packets, state.whole), state.torn)
        if self._slot is not None and self._length_bytes:
            taken = h264.needed(taken, self._length_bytes, self._wanted(self._slot).__contains__)
        slot = -1
        for frame in decoded(self._stream, taken, self._damage):
            number, time_s = self._place(frame)
            self._frames, self._number, self._time_s = self._frames + 1, number, time_s
            now = slot + 1 if self._slot is None else self._slot(time_s)
            if now > slot:
                slot = now
                if number > after:
                    yield Frame(number, time_s, self._pictures.image(frame))

    def check_end(self, state: State) -> None:
        """Check that the video ended where it should, and that nothing was left out.

        Raises:
            Rejected: it did not; the detail says how much was decoded.
        """
        left_out = self._damage.left_out + (max(0, self._damage.owed) if self._length_bytes else 0)
        used = f"{self._frames} frames, {self._time_s:.2f} s, could be decoded and are used"
        if state.is_cut:
            raise Rejected("video is cut short", used if self._frames else "no frame can be decoded")
        if not self._frames:
            raise Rejected("no frame can be decoded", f"{left_out} are damaged" if left_out else "")
        if left_out or state.is_unreadable:
            raise Rejected("video is damaged", f"{used}, {left_out} are torn and left out")
        if self._backward:
            raise Rejected("times cannot be trusted", f"{used}, {self._backward} of them go back in time")

    def _sound(self, taken: Iterable[Any], torn: frozenset[int]) -> Iterator[Any]:
        """The packets that are whole, those of joined parts behind each other."""
        for number, packet in enumerate(taken):
            if self._times.shifts is not None and packet.pts is not None:
                packet.pts += int(self._times.shifts[number])
            if number in torn:
                self._damage.lost(packet.pts)
            else:
                yield packet

    def _place(self, frame: Any) -> tuple[int, float]:
        """Number and time of a frame, after those of the one before."""
        number, stamp = self._frames + self._damage.left_out, frame.pts
        if self._times.is_listed:
            stamp = self._next_stamp()
        elif self._length_bytes and stamp is not None:
            number = bisect_left(self._stamps, stamp)
        number = max(self._number + 1, number)
        if stamp is None:
            return number, self._time_s + 1 / rate(self._stream)
        at_s = self._times.seconds(stamp)
        self._first_s = at_s if self._first_s is None else self._first_s
        time_s = at_s - self._first_s
        self._backward += time_s < self._time_s - TIE_S
        return number, time_s if time_s > self._time_s else self._time_s + TIE_S

    def _next_stamp(self) -> int | None:
        """The stamp of the frame that came out last: the next in the list, without those of packets without a frame."""
        place = self._damage.frames - 1
        for stamp in self._damage.missing[self._unlisted :]:
            missing = place if stamp is None else max(place, bisect_left(self._stamps, stamp))
            del self._stamps[missing : missing + 1]
        self._unlisted = len(self._damage.missing)
        return self._stamps[place] if place < len(self._stamps) else None

    def _wanted(self, slot: Slot) -> set[int]:
        """Time stamps of the first frame of each interval."""
        wanted: dict[int, int] = {}
        for stamp in self._stamps:
            wanted.setdefault(slot(self._times.seconds(stamp) - (self._first_s or 0.0)), stamp)
        return set(wanted.values())
