"""Whether a video is all there, told from its container without decoding.

Few containers announce how many frames they hold, and an edit list may hide some of those. So the parts that a file is
made of are followed: the samples and fragments of an MP4 (ISO/IEC 14496-12), the elements of Matroska (RFC 8794), the
packets of an MPEG transport stream (`transport`). What is cut between two of those parts cannot be told from what ended
there, unless a length was announced.
"""

import io
import re
import struct
from typing import Any, BinaryIO

import av
import numpy as np

from stages.footage import transport
from stages.footage.containers import start_s
from stages.footage.packets import UNKNOWN, Scan, rate

TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # hours, minutes, seconds
SLACK_S = 1.0  # a container may announce this much more than its video holds
SEGMENT = 0x18538067  # the element that holds all others of Matroska


def is_cut(file: BinaryIO, container: Any, stream: Any, found: Scan) -> bool:
    """Whether the end of the video is missing."""
    kind = container.format.name
    if kind.startswith("mov,"):
        return _mp4_is_cut(file, stream)
    if (kind.startswith("matroska,") and _matroska_is_cut(file)) or (kind == "mpegts" and transport.is_cut(file)):
        return True
    return not found.is_last_whole or _is_short(container, stream, found)


def torn(file: BinaryIO, container: Any, stream: Any, found: Scan) -> frozenset[int]:
    """Numbers of the packets on both sides of data that the container tells to be missing."""
    if container.format.name != "mpegts":
        return frozenset()
    after = np.searchsorted(found.places, transport.gaps(file, stream.id), side="right") - 1
    return frozenset([*after.tolist(), *(after - 1).tolist()])


def may_end_within_a_frame(container: Any, found: Scan) -> bool:
    """Whether the last packet of a cut video may hold a part of a frame that the decoder takes for a whole one."""
    return container.format.name in ("mpegts", "mpeg") or not found.is_last_whole


def _mp4_is_cut(file: BinaryIO, stream: Any) -> bool:
    """Whether a sample or a fragment goes on behind the end of the file."""
    size = file.seek(0, io.SEEK_END)
    if any(entry.pos + entry.size > size for entry in stream.index_entries):
        return True
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        if length < 8:
            return False  # 0: to the end of the file
        at += length
        if at > size:
            return kind == b"moof"
    return False


def _matroska_is_cut(file: BinaryIO) -> bool:
    """Whether an element goes on behind the end of the file."""
    size, at = file.seek(0, io.SEEK_END), 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        id_bytes, length_bytes = _vint_bytes(head), _vint_bytes(head[_vint_bytes(head) :])
        if not id_bytes or not length_bytes:
            return False  # no element: what stands behind the last one is not ours to judge
        start = id_bytes + length_bytes
        if len(head) < start:
            return True
        length = int.from_bytes(head[id_bytes:start], "big") & ((1 << 7 * length_bytes) - 1)
        is_unknown = length == (1 << 7 * length_bytes) - 1
        at += start
        if not is_unknown and at + length > size:
            return True
        is_opened = is_unknown or int.from_bytes(head[:id_bytes], "big") == SEGMENT
        at += 0 if is_opened else length
    return False


def _vint_bytes(data: bytes) -> int:
    """Bytes of the number of variable length that begins here; 0 if none does."""
    return 9 - data[0].bit_length() if data and data[0] else 0


def _is_short(container: Any, stream: Any, found: Scan) -> bool:
    """Whether frames and time are fewer than announced.

    If the stream announces neither, its tag is used (Matroska), else the duration of the file, unless there is sound,
    which may be longer.
    """
    frames, known = int(found.is_shown.sum()), found.pts[found.pts != UNKNOWN]
    time_s = float(int(np.ptp(known)) * stream.time_base) if len(known) else frames / rate(stream)
    if stream.frames:
        announced_s = float(stream.duration * stream.time_base) if stream.duration else float("inf")
        return frames < stream.frames and time_s + 2 / rate(stream) < announced_s
    if tag := TAG.match(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, tag.groups())
        return time_s + SLACK_S < 3600 * hours + 60 * minutes + seconds - start_s(stream)
    announced_s = container.duration / av.time_base if container.duration else 0.0
    return not container.streams.audio and time_s + SLACK_S < announced_s
