"""Which frames of an H.264 clip no other frame is predicted from, told without decoding them.

A packet of an MP4 holds one frame as units, each after its length. The first byte of a unit holds its type in the
lower five bits; the bits above are zero for a slice that is no reference (ITU-T H.264, 7.3.1).
"""

from typing import Any

SLICE, MESSAGE, DELIMITER, FILLER = 1, 6, 9, 12  # types of units; of all others a later frame may need something
PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE


def length_bytes(stream: Any) -> int:
    """How many bytes hold the length of a unit; 0 if the clip is of another kind, or its frames are fields."""
    context = stream.codec_context
    extradata = context.extradata or b""
    is_mp4 = context.name == "h264" and len(extradata) > 6 and extradata[0] == 1
    return 1 + (extradata[4] & 3) if is_mp4 and context.field_order == PROGRESSIVE else 0


def is_reference(packet: memoryview, length_bytes: int) -> bool:
    """Whether another frame may need that of the packet; True as well for a packet that is not as it should be."""
    at, slices = 0, 0
    while at + length_bytes < len(packet):
        first = packet[at + length_bytes]
        slices += first == SLICE
        if first not in (SLICE, MESSAGE, DELIMITER, FILLER):
            return True
        at += length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
    return at != len(packet) or not slices
