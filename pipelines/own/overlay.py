"""A video with the attributes of its faces drawn onto it."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.own import detection, outputs, sources
from pipelines.own.attributes import measured
from pipelines.own.detection import FrameFaces, InputFrame
from pipelines.own.drawing import draw
from pipelines.own.film import Write, film
from pipelines.own.options import Options, network, search
from stages.footage import videos
from stages.runtime import progress
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from fabnet.inference.network import Network

log = logging.getLogger(__name__)


def overlay(video: Path, *, out: Path | None = None, options: Options | None = None) -> None:
    """Draw box, landmarks, pose and the likeliest expression of every face onto a video.

    Args:
        video: Any video that FFmpeg reads; its sound is copied.
        out: The mp4, of the same size and with the same times; an odd side loses a line of pixels.
            NAME.overlay.mp4 here, if not given.
        options: How the network runs and faces are detected.

    Raises:
        UserError: not a video that can be decoded, or a result that cannot be written.
    """
    options, out = options or Options(), out or Path(f"{video.stem}.overlay.mp4")
    outputs.check(out, [".mp4"], [video])
    form = _format(video)
    net = network(options)
    faces_search, _ = search(net, options)
    waiting: deque[InputFrame] = deque()
    faces = 0
    frames = _remembered(detection.input_frames([video]), waiting)
    with closing(detection.detect_all(frames, faces_search)) as detected, film(out, *form[:3], sound_of=video) as write:
        for batch in detection.batches(progress.track(detected, form.frames, "overlay", "frames")):
            _write(net, batch, [waiting.popleft() for _ in batch], write)
            faces += sum(len(of.faces) for of in batch)
    log.info("overlay: %d faces drawn, see %s", faces, out)


def _format(video: Path) -> videos.Format:
    if sources.is_image(video):
        raise UserError(f"{video} should be a video, found an image: `fabnet attributes` reads images")
    form = videos.read_format(video)
    if min(form.width_px, form.height_px) < detection.MIN_SIDE_PX:
        raise UserError(f"{video} should have at least {detection.MIN_SIDE_PX} px each way, found "
                        f"{form.width_px}x{form.height_px}")  # fmt: skip
    return form


def _remembered(frames: Iterable[InputFrame], waiting: deque[InputFrame]) -> Iterator[InputFrame]:
    """The frames unchanged; they are kept in `waiting` until their faces are detected."""
    for frame in frames:
        waiting.append(frame)
        yield frame


def _write(net: "Network", batch: Sequence[FrameFaces], frames: Sequence[InputFrame], write: Write) -> None:
    values = measured(net, [face for of in batch for face in of.faces])
    start = 0
    for detected, frame in zip(batch, frames, strict=True):
        end = start + len(detected.faces)
        if frame.image is not None and frame.time_s is not None:
            of_frame = {name: of_all[start:end] for name, of_all in values.items()}
            write(draw(frame.image, detected.faces, of_frame, net), frame.time_s)
        if detected.error:
            log.info("overlay: %s: %s", frame.source, detected.error)
        start = end
