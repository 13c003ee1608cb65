"""Face detection and cropping for images and video frames, with the crop geometry used in training.

An image is searched in passes that enlarge it further, until one finds a face. Its box grows by a margin and becomes
the smallest square at whole pixels; the crop is black outside the image and scaled to the side that the network's
faces have.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fabnet.boxes import Box, PixelBox, area, clamp, crop_box
from fabnet.images import face_crop
from fabnet.modules.face_crop import Crop
from pipelines.own import sources
from pipelines.own.quality import Quality, measure
from stages.faces import detection
from stages.faces.detection import MIN_SIDE_PX
from stages.footage import videos
from stages.runtime.errors import Rejected, UserError
from stages.storage.media import Image

END = 2**31 - 1  # frame number of the error after the last frame of a source
BATCH_FACES = 16


@dataclass(frozen=True)
class Search:
    """How faces are detected and cut."""

    crop: Crop
    weights: str = ""  # path of the detector's weight file
    is_largest_only: bool = False
    is_cropped: bool = False  # the images are face crops already
    detect_every: int = 1  # frames of a video; in those between, faces are interpolated


@dataclass(frozen=True)
class InputFrame:
    """An image, a frame of a video, or why there is none."""

    source_number: int  # of its file among all files
    source: str
    number: int  # in the video, from 0; 0 for an image
    time_s: float | None = None  # since the first frame of the video; None for an image
    image: Image | None = None  # None: an image file that is still to be read
    error: Rejected | None = None
    is_cut: bool = False  # another shot begins with it
    before_s: float | None = None  # time of the frame before it in the same video; None for the first
    size_px: tuple[int, int] | None = None  # width and height; None until it is searched


@dataclass(frozen=True)
class Face:
    box: Box  # px of the frame
    score: float | None  # None for a crop that was not detected here
    square: PixelBox  # what was cut out
    crop: Image  # (S, S, 3) uint8 RGB
    quality: Quality
    is_interpolated: bool = False  # box and score lie between those of two searched frames


@dataclass(frozen=True)
class FrameFaces:
    """The faces of one frame, highest score first, or why it cannot be used."""

    frame: InputFrame  # without its pixels
    faces: tuple[Face, ...] = ()
    error: Rejected | None = None
    is_key: bool = True  # searched whatever the frames around it show; work can go on from here


def input_frames(
    paths: Sequence[Path], fps: float | None = None, after: tuple[int, int] = (0, -1)
) -> Iterator[InputFrame]:
    """Images and video frames, file by file, from the one that follows `after` (source number, frame number).

    A video that cannot be read to its end has a last frame with the error.
    """
    first, done = after
    for source_number, path in enumerate(paths[first:], first):
        last = done if source_number == first else -1
        if sources.is_image(path):
            yield from [InputFrame(source_number, str(path), 0)] if last < 0 else []
        elif last < END:
            yield from _video_frames(source_number, path, fps, last)


def batches(detected: Iterable[FrameFaces]) -> Iterator[list[FrameFaces]]:
    """Frames with about BATCH_FACES faces together, or as many frames, so that a batch takes little memory."""
    batch: list[FrameFaces] = []
    faces = 0
    for frame_faces in detected:
        batch.append(frame_faces)
        faces += len(frame_faces.faces)
        if max(faces, len(batch)) >= BATCH_FACES:
            yield batch
            batch, faces = [], 0
    if batch:
        yield batch


def largest_face(path: Path, search: Search) -> Face:
    """The largest face of an image.

    Raises:
        UserError: it cannot be read, or shows no face.
    """
    detected = detect(InputFrame(0, str(path), 0), replace(search, is_largest_only=True))
    if not detected.faces:
        raise UserError(f"{path} should be an image of a face: {detected.error or 'no face found'}")
    return detected.faces[0]


def detect(frame: InputFrame, search: Search) -> FrameFaces:
    """The faces of one frame."""
    if frame.error is not None:
        return FrameFaces(frame, error=frame.error)
    try:
        image = sources.read_image(Path(frame.source)) if frame.image is None else frame.image
        return shown(frame, image, faces(image, search))
    except Rejected as error:
        return FrameFaces(replace(frame, image=None), error=error)


def shown(frame: InputFrame, image: Image, found: Iterable[Face]) -> FrameFaces:
    """The faces that its image shows."""
    return FrameFaces(replace(frame, image=None, size_px=(image.shape[1], image.shape[0])), tuple(found))


def faces(image: Image, search: Search) -> Iterator[Face]:
    """The faces of one image.

    Raises:
        Rejected: the image is too small to show one.
    """
    crop, (height, width) = search.crop, image.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise Rejected("image too small", f"{width}x{height} px, at least {MIN_SIDE_PX} px each way are needed")
    if search.is_cropped:
        square = (0, 0, width, height)
        yield Face((0.0, 0.0, float(width), float(height)), None, square, image, measure(image, square))
        return
    find = detection.detector(crop.detector, search.weights, crop.min_score)
    found = detection.first_found(image, find, crop.upsample)
    yield from cut_out(image, zip(found.boxes, found.scores, strict=True), search)


def cut_out(
    image: Image, found: Iterable[tuple[Box, float]], search: Search, *, is_interpolated: bool = False
) -> Iterator[Face]:
    """The faces in these boxes, with these scores, as far as they meet the image; best first, or the largest alone.

    Highest score first, then largest, left-most, top-most.
    """
    ranked = sorted(found, key=lambda face: (-face[1], -area(face[0]), *face[0][:2]))
    if search.is_largest_only:
        ranked = sorted(ranked, key=lambda face: -area(face[0]))[:1]
    for box, score in ranked:
        square = crop_box(box, search.crop.margin_frac)
        if area(clamp(square, image.shape[1], image.shape[0])) > 0:
            crop = face_crop(image, square, search.crop.crop_px)
            yield Face(box, score, square, crop, measure(image, square), is_interpolated)


def _video_frames(source_number: int, path: Path, fps: float | None, last: int) -> Iterator[InputFrame]:
    try:
        for frame in videos.frames(path, fps, after=last):
            yield InputFrame(source_number, str(path), frame.number, frame.time_s, frame.image)
    except Rejected as error:
        yield InputFrame(source_number, str(path), END, error=error)
