"""One face in the poses and expressions of another: what the sampler learned, as a film."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fabnet.images import resize
from pipelines.own import looking, outputs, videos
from pipelines.own.film import film
from pipelines.own.looking import Face, Seen
from pipelines.own.options import Options, network, search
from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.storage.media import Image

if TYPE_CHECKING:
    from fabnet.inference.network import Network

log = logging.getLogger(__name__)

SIDE_PX = 256  # of each of the three pictures


def animate(source: Path, driving: Path, *, out: Path = Path("animated.mp4"), options: Options | None = None) -> None:
    """Warp a face by a driving video, side by side: source, driving face, result.

    Args:
        source: A picture of the face; the largest one on it is taken.
        driving: A video of another face; a frame without one repeats the last frame that has one.
        out: The mp4.
        options: How the network is run and faces are found.
    """
    outputs.check(out, [".mp4"], [source, driving])
    chosen = replace(options or Options(), largest=True)
    net = network(chosen)
    found, _ = search(net, chosen)
    face = looking.only_face(source, found)
    form = videos.described(driving)
    shown = 0
    with closing(looking.look_at(looking.shots([driving]), found)) as looked:
        seen = progress.track(looked, form.frames, "animate", "frames")
        with film(out, 3 * SIDE_PX, SIDE_PX, form.fps, sound_of=driving) as write:
            for picture, time_s in _pictures(net, face, seen):
                write(picture, time_s)
                shown += 1
            if not shown:
                raise UserError(f"{driving} should show a face, found none in any frame")
    log.info("animate: %d frames, see %s", shown, out)


def _pictures(net: "Network", source: Face, seen: Iterable[Seen]) -> Iterator[tuple[Image, float]]:
    """The three pictures side by side, with their time in the driving video."""
    last: Face | None = None
    for some in looking.batches(seen):
        shown: list[tuple[Face, float]] = []
        for each in some:
            last = each.faces[0] if each.faces else last
            if each.lost:
                log.info("animate: %s: %s", each.source, each.lost)
            elif last is not None:
                shown.append((last, each.time_s or 0.0))
        for (driving, time_s), result in zip(shown, _warped(net, source, [face for face, _ in shown]), strict=True):
            pictures = (source.crop, driving.crop, result)
            yield np.hstack([resize(picture, SIDE_PX, SIDE_PX) for picture in pictures]), time_s


def _warped(net: "Network", source: Face, driving: list[Face]) -> Image:
    """(N, S, S, 3) RGB.

    Raises:
        UserError: the network's method has no sampler.
    """
    try:
        return net.warp([source.crop], [face.crop for face in driving])
    except ValueError as error:
        raise UserError(str(error)) from None
