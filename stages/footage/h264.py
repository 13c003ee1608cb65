"""Which packets of an H.264 clip have to be decoded for some of its frames, told without decoding them.

A packet of an MP4 holds one frame as units, each after its length. The first byte of a unit holds its type in the
lower five bits; the bits above are zero for a slice that is no reference (ITU-T H.264, 7.3.1).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

SLICE, MESSAGE, DELIMITER, FILLER = 1, 6, 9, 12  # of all other units a later frame may need something
REFRESH = 5  # a slice of a frame (IDR) that no later frame looks behind
TYPE = 0x1F  # the bits of a unit's type
PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE
MOST_WAITING = 512  # packets, so that a long wait takes little memory


def length_bytes(stream: Any) -> int:
    """How many bytes hold the length of a unit; 0 if the clip is of another kind, or its frames are fields."""
    context = stream.codec_context
    extradata = context.extradata or b""
    is_mp4 = context.name == "h264" and len(extradata) > 6 and extradata[0] == 1
    return 1 + (extradata[4] & 3) if is_mp4 and context.field_order == PROGRESSIVE else 0


def first_bytes(packet: memoryview, length_bytes: int) -> list[int]:
    """The first byte of every unit; empty if they do not fill the packet or one is marked as damaged."""
    at, found = 0, list[int]()
    while at + length_bytes < len(packet):
        found.append(packet[at + length_bytes])
        at += length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
    return found if at == len(packet) and max(found, default=0) < 0x80 else []


def is_reference(first_bytes: list[int]) -> bool:
    """Whether another frame may need this one."""
    return SLICE not in first_bytes or not {SLICE, MESSAGE, DELIMITER, FILLER}.issuperset(first_bytes)


def needed(packets: Iterable[Any], length_bytes: int, is_wanted: Callable[[int], bool]) -> Iterator[Any]:
    """The packets of frames whose time stamps are wanted, of all that these may be predicted from, and those in doubt.

    What other frames are predicted from waits for the next frame that is wanted; a refresh needs nothing before it.
    """
    waiting: list[Any] = []
    for packet in packets:
        units = first_bytes(memoryview(packet), length_bytes)
        if not units or is_wanted(packet.pts):
            if any(unit & TYPE == REFRESH for unit in units):
                waiting.clear()
            yield from waiting
            waiting.clear()
            yield packet
        elif is_reference(units):
            waiting.append(packet)
            if len(waiting) == MOST_WAITING:
                yield from waiting
                waiting.clear()
