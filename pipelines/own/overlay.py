"""A video or an image with the attributes of its faces drawn onto it."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from pipelines.own import detection, outputs, sources, stretches, tracks
from pipelines.own.attributes import measured
from pipelines.own.detection import FrameFaces, InputFrame
from pipelines.own.drawing import draw
from pipelines.own.film import Write, film
from pipelines.own.options import Options, ready
from pipelines.own.tracks import Seen, Tracks
from stages.footage import videos
from stages.runtime import files, progress
from stages.runtime.errors import Rejected, UserError

if TYPE_CHECKING:
    from fabnet.inference.network import Network

log = logging.getLogger(__name__)


def overlay(file: Path, *, out: Path | None = None, options: Options | None = None) -> None:
    """Draw box, landmarks, pose and the likeliest expression of every face onto a video or an image.

    In a video, a box has the number and the colour of its track: those of one person through the clip.

    Args:
        file: Any video that FFmpeg reads, whose sound is copied; or an image.
        out: NAME.overlay.mp4 here, if not given, of the same size and with the same times; an odd side loses a line of
            pixels. For an image NAME.overlay.png or .jpg.
        options: How the network runs and faces are detected.

    Raises:
        UserError: not a video or image that can be decoded, an image without a face, or a result that cannot be
            written.
    """
    options = options or Options()
    if not sources.is_there(file) or file.is_dir():
        found = "a folder" if sources.is_there(file) else "no such file"
        raise UserError(f"{file} should be a video or an image, found {found}")
    if sources.is_image(file):
        _onto_image(file, out or Path(f"{file.stem}.overlay{_suffix(file)}"), options)
    else:
        _onto_video(file, out or Path(f"{file.stem}.overlay.mp4"), options)


def _onto_image(path: Path, out: Path, options: Options) -> None:
    outputs.check(out, [".jpg", ".jpeg", ".png"], [path])
    try:
        image = sources.read_image(path)
    except Rejected as error:
        raise UserError(f"{path} should be an image that can be read, found otherwise: {error}") from None
    net, faces_search, _ = ready(options)
    detected = detection.detect(InputFrame(0, str(path), 0, image=image), faces_search)
    if not detected.faces:
        raise UserError(f"{path} should show a face, found none: {detected.error or 'nothing was written'}")
    drawn = draw(image, detected.faces, measured(net, detected.faces), net)
    files.replace_bytes(out, cv2.imencode(out.suffix.lower(), drawn[..., ::-1])[1].tobytes())
    log.info("overlay: %s drawn, see %s", outputs.counted(len(detected.faces), "face"), out)


def _suffix(path: Path) -> str:
    """Of the drawn image: JPEG stays JPEG, and nothing is lost of another one."""
    return ".jpg" if path.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif") else ".png"


def _onto_video(video: Path, out: Path, options: Options) -> None:
    outputs.check(out, [".mp4"], [video])
    form = _format(video)
    net, faces_search, _ = ready(options)
    waiting: deque[InputFrame] = deque()
    known, faces = Tracks(), 0
    frames = _remembered(detection.input_frames([video]), waiting)
    with closing(stretches.detect_all(frames, faces_search)) as detected, film(out, *form[:3], sound_of=video) as write:
        for batch in detection.batches(progress.track(detected, form.frames, "overlay", "frames")):
            _write(net, batch, [waiting.popleft() for _ in batch], known, write)
            faces += sum(len(of.faces) for of in batch)
    log.info("overlay: %s drawn, see %s", outputs.counted(faces, "face"), out)


def _format(video: Path) -> videos.Format:
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


def _write(
    net: "Network", batch: Sequence[FrameFaces], frames: Sequence[InputFrame], known: Tracks, write: Write
) -> None:
    values = measured(net, [face for of in batch for face in of.faces])
    start = 0
    for detected, frame in zip(batch, frames, strict=True):
        end = start + len(detected.faces)
        if frame.image is not None and frame.time_s is not None:
            of_frame = {name: of_all[start:end] for name, of_all in values.items()}
            numbers = _tracks(known, detected, frame.time_s)
            write(draw(frame.image, detected.faces, of_frame, net, numbers), frame.time_s)
        if detected.error:
            log.info("overlay: %s: %s", frame.source, detected.error)
        start = end


def _tracks(known: Tracks, detected: FrameFaces, time_s: float) -> list[int]:
    """The track of each face of the next frame."""
    if detected.frame.is_cut:
        known.cut()
    faces = [Seen(face.box, tracks.look(face.crop)) for face in detected.faces]
    return known.follow(time_s, faces, detected.frame.before_s)
