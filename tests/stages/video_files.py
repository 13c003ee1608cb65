"""Videos as recorders, editors and broken programs leave them."""

import struct
from collections.abc import Callable
from pathlib import Path

import av

Stamp = Callable[[int, int, int], tuple[int | None, int | None]]  # number of a packet, its pts and dts -> other ones


def restamped(source: Path, out: Path, stamp: Stamp) -> Path:
    """The packets of `source` in another container, with other time stamps."""
    with av.open(str(source)) as video, av.open(str(out), "w") as container:
        stream = video.streams.video[0]
        copy = container.add_stream_from_template(stream)
        for number, packet in enumerate(video.demux(stream)):
            if packet.dts is not None:
                packet.pts, packet.dts = stamp(number, packet.pts, packet.dts)
                packet.stream = copy
                container.mux(packet)
    return out


def patched(source: Path, box: bytes, at: int, value: int) -> Path:
    """The MP4 with another 32-bit number in one of its boxes, `at` bytes behind the box's name."""
    data = bytearray(source.read_bytes())
    struct.pack_into(">I", data, data.index(box) + 4 + at, value)
    source.write_bytes(data)
    return source


def joined(*parts: Path) -> Path:
    """The files end to end, as `cat` joins them."""
    out = parts[0].with_name(f"joined{parts[0].suffix}")
    out.write_bytes(b"".join(part.read_bytes() for part in parts))
    return out


def cut(path: Path, share: float) -> Path:
    """The first part of the file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path
