"""One face in the poses and expressions of another, warped by the network, as an mp4."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fabnet.images import resize
from pipelines.own import detection, outputs, stretches
from pipelines.own.detection import Face, FrameFaces
from pipelines.own.film import film
from pipelines.own.options import Options, ready
from stages.footage import videos
from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.storage.media import Image

if TYPE_CHECKING:
    from fabnet.inference.network import Network

log = logging.getLogger(__name__)

SIDE_PX = 256  # of each of the three images


def animate(source: Path, driving: Path, *, out: Path = Path("animated.mp4"), options: Options | None = None) -> None:
    """Warp a face by a driving video, side by side: source, driving face, result.

    Args:
        source: An image of the face; its largest face is used.
        driving: A video of another face; a frame without one repeats the last frame that has one.
        out: The mp4.
        options: How the network runs and faces are detected.
    """
    outputs.check(out, [".mp4"], [source, driving])
    options = replace(options or Options(), largest=True)
    net, faces_search, _ = ready(options)
    face = detection.largest_face(source, faces_search)
    form = videos.read_format(driving)
    written = 0
    with closing(stretches.detect_all(detection.input_frames([driving]), faces_search)) as detected:
        tracked = progress.track(detected, form.frames, "animate", "frames")
        with film(out, 3 * SIDE_PX, SIDE_PX, form.fps, sound_of=driving) as write:
            for image, time_s in _frames(net, face, tracked):
                write(image, time_s)
                written += 1
            if not written:
                raise UserError(f"{driving} should show a face, found none in any frame")
    log.info("animate: %s, see %s", outputs.counted(written, "frame"), out)


def _frames(net: "Network", source: Face, detected: Iterable[FrameFaces]) -> Iterator[tuple[Image, float]]:
    """The three images side by side, with their time in the driving video."""
    last: Face | None = None
    for batch in detection.batches(detected):
        driving: list[tuple[Face, float]] = []
        for of in batch:
            last = of.faces[0] if of.faces else last
            if of.error:
                log.info("animate: %s: %s", of.frame.source, of.error)
            elif last is not None:
                driving.append((last, of.frame.time_s or 0.0))
        warped = _warped(net, source, [face for face, _ in driving])
        for (face, time_s), result in zip(driving, warped, strict=True):
            yield np.hstack([resize(image, SIDE_PX, SIDE_PX) for image in (source.crop, face.crop, result)]), time_s


def _warped(net: "Network", source: Face, driving: list[Face]) -> Image:
    """(N, S, S, 3) RGB.

    Raises:
        UserError: the network's method has no sampler.
    """
    try:
        return net.warp([source.crop], [face.crop for face in driving])
    except ValueError as error:
        raise UserError(str(error)) from None
