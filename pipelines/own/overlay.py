"""What the network sees in a video, drawn onto it."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.own import looking, outputs, sources, videos
from pipelines.own.attributes import measured
from pipelines.own.drawing import draw
from pipelines.own.film import Write, film
from pipelines.own.looking import Seen, Shot
from pipelines.own.options import Options, network, search
from stages.runtime import progress
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from fabnet.inference.network import Network

log = logging.getLogger(__name__)


def overlay(video: Path, *, out: Path | None = None, options: Options | None = None) -> None:
    """Draw box, landmarks, pose and the likeliest expression of every face onto a video.

    Args:
        video: Any video that FFmpeg reads; its sound comes along.
        out: The mp4, of the same size and with the same times; an odd side loses a line of pixels.
            NAME.overlay.mp4 here, if not given.
        options: How the network is run and faces are found.

    Raises:
        UserError: no video that can be decoded, or a result that cannot be written.
    """
    chosen, result = options or Options(), out or Path(f"{video.stem}.overlay.mp4")
    outputs.check(result, [".mp4"], [video])
    form = _format(video)
    net = network(chosen)
    found, _ = search(net, chosen)
    waiting: deque[Shot] = deque()
    faces = 0
    shots = _remembered(looking.shots([video]), waiting)
    with closing(looking.look_at(shots, found)) as looked, film(result, *form[:3], sound_of=video) as write:
        for some in looking.batches(progress.track(looked, form.frames, "overlay", "frames")):
            _write(net, some, [waiting.popleft() for _ in some], write)
            faces += sum(len(seen.faces) for seen in some)
    log.info("overlay: %d faces drawn, see %s", faces, result)


def _format(video: Path) -> videos.Format:
    if sources.is_picture(video):
        raise UserError(f"{video} should be a video, found a picture: `fabnet attributes` reads pictures")
    form = videos.described(video)
    if min(form.width_px, form.height_px) < looking.MIN_SIDE_PX:
        raise UserError(f"{video} should have at least {looking.MIN_SIDE_PX} px each way, found "
                        f"{form.width_px}x{form.height_px}")  # fmt: skip
    return form


def _remembered(shots: Iterable[Shot], waiting: deque[Shot]) -> Iterator[Shot]:
    """The shots unchanged; their frames wait until it is known what is seen in them."""
    for shot in shots:
        waiting.append(shot)
        yield shot


def _write(net: "Network", seen: Sequence[Seen], shots: Sequence[Shot], write: Write) -> None:
    values = measured(net, [face for each in seen for face in each.faces])
    start = 0
    for each, shot in zip(seen, shots, strict=True):
        end = start + len(each.faces)
        if shot.image is not None and shot.time_s is not None:
            write(draw(shot.image, each.faces, {name: of[start:end] for name, of in values.items()}, net), shot.time_s)
        if each.lost:
            log.info("overlay: %s: %s", shot.source, each.lost)
        start = end
