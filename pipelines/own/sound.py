"""The sound of a video, copied without re-encoding into a film that was drawn from its frames."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from stages.footage import containers
from stages.footage.packets import JUMP_S, may_jump

log = logging.getLogger(__name__)

END_S = float("inf")

Play = Callable[[float], None]  # adds the sound up to a time, in seconds since the first frame


@contextmanager
def sound(path: Path, film: Any) -> Iterator[Play]:
    """A function that copies the first sound track of `path` to `film`, an open container without content.

    A video without sound adds none; a codec that the film cannot hold is left out, which is logged; a damaged track
    ends where it cannot be read.
    """
    with containers.opened(path) as (container, video):
        track = next(iter(container.streams.audio), None)
        if track is None or track.codec_context is None:
            yield _silence
        elif track.codec.canonical_name not in film.supported_codecs:
            log.info("%s: sound left out: %s does not hold %s", path, film.format.name, track.codec.canonical_name)
            yield _silence
        else:
            first_s = containers.start_s(video)
            yield _player(_packets(container, track, first_s, path), film, film.add_stream_from_template(track))


def _silence(_until_s: float) -> None:
    pass


def _packets(container: Any, track: Any, first_s: float, path: Path) -> Iterator[tuple[float, Any]]:
    """Each packet that does not begin before the first frame, with its time since that frame.

    Where the time jumps, another part was joined: its sound follows that of the part before, as its frames do.
    """
    shift, next_ticks = -round(first_s / track.time_base), 0
    most_ticks = JUMP_S / track.time_base if may_jump(container) else float("inf")
    try:
        for packet in container.demux(track):
            if packet.pts is None or packet.dts is None:
                continue
            if next_ticks and not -packet.duration < packet.dts + shift - next_ticks <= most_ticks:
                shift = next_ticks - packet.dts
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            next_ticks = packet.dts + packet.duration
            if packet.pts >= 0:
                yield float(packet.pts * track.time_base), packet
    except FFmpegError as error:
        log.info("%s: sound ends early: %s", path, error.strerror)


def _player(packets: Iterator[tuple[float, Any]], film: Any, track: Any) -> Play:
    waiting = next(packets, None)

    def play(until_s: float) -> None:
        nonlocal waiting
        while waiting is not None and waiting[0] <= until_s:
            packet = waiting[1]
            packet.stream = track
            film.mux(packet)
            waiting = next(packets, None)

    return play
