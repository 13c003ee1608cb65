"""Shots to faces: frames and pictures in, the faces on them out, cut as the crops of training were cut.

Faces are looked for in rising enlargements until a pass finds one. A box grows by the margin and becomes the smallest
square around itself, every edge moved to the nearest boundary between pixels; what is cut out is black where it leaves
the picture, and scaled to the side of the crop.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from fabnet.boxes import Box, PixelBox, area, clamp, crop_box
from fabnet.images import face_crop
from fabnet.modules.face_crop import Crop
from pipelines.own import sources, videos
from stages.faces import detection
from stages.runtime import workers
from stages.runtime.errors import Rejected, UserError
from stages.storage import media
from stages.storage.media import Image

END = 2**31 - 1  # number of the frame behind the last one of a source
FACES_AT_ONCE = 16
MIN_SIDE_PX = 16  # of a picture: no face fits into less


@dataclass(frozen=True)
class Search:
    """How faces are found and cut."""

    crop: Crop
    weights: str = ""  # path of the detector's weight file
    is_largest_only: bool = False
    is_cropped: bool = False  # pictures are face crops already


@dataclass(frozen=True)
class Shot:
    """One frame of a source, or why it has none."""

    place: int  # of the source among all
    source: str
    frame: int
    time_s: float | None = None  # since the first frame of the video; None for a picture
    image: Image | None = None  # None: a picture that is still to be read
    lost: Rejected | None = None


@dataclass(frozen=True)
class Face:
    box: Box  # as detected, px of the frame
    score: float | None  # None for a crop that was not detected here
    square: PixelBox  # what was cut
    crop: Image  # (S, S, 3) uint8 RGB


@dataclass(frozen=True)
class Seen:
    """The faces of one shot, best score first; or why there is nothing to see."""

    place: int
    source: str
    frame: int
    time_s: float | None
    faces: tuple[Face, ...] = ()
    lost: Rejected | None = None


def shots(paths: Sequence[Path], fps: float | None = None, behind: tuple[int, int] = (0, -1)) -> Iterator[Shot]:
    """Every frame that is wanted, source by source; those up to `behind` (place, frame) are left out.

    A video that cannot be read to its end is followed by a shot that says so.
    """
    first, done = behind
    for place, path in enumerate(paths[first:], first):
        after = done if place == first else -1
        if sources.is_picture(path):
            yield from [Shot(place, str(path), 0)] if after < 0 else []
        elif after < END:
            yield from _frames(place, path, fps, after)


def look_at(some: Iterable[Shot], search: Search) -> Generator[Seen, None, None]:
    """What is seen in each shot, in order; one process for each core looks for faces."""
    return workers.in_order(partial(look, search=search), some, workers.available())


def batches(seen: Iterable[Seen]) -> Iterator[list[Seen]]:
    """Shots with about FACES_AT_ONCE faces together, or as many shots, so that what waits takes little memory."""
    batch: list[Seen] = []
    faces = 0
    for each in seen:
        batch.append(each)
        faces += len(each.faces)
        if max(faces, len(batch)) >= FACES_AT_ONCE:
            yield batch
            batch, faces = [], 0
    if batch:
        yield batch


def only_face(path: Path, search: Search) -> Face:
    """The largest face of a picture.

    Raises:
        UserError: it cannot be read, or shows none.
    """
    seen = look(Shot(0, str(path), 0), replace(search, is_largest_only=True))
    if not seen.faces:
        raise UserError(f"{path} should be a picture of a face: {seen.lost or 'no face found'}")
    return seen.faces[0]


def look(shot: Shot, search: Search) -> Seen:
    """What is seen in one shot."""
    found: tuple[Face, ...] = ()
    lost = shot.lost
    if lost is None:
        try:
            image = shot.image if shot.image is not None else read_picture(Path(shot.source))
            found = tuple(faces(image, search))
        except Rejected as error:
            lost = error
    return Seen(shot.place, shot.source, shot.frame, shot.time_s, found, lost)


def read_picture(path: Path) -> Image:
    """The picture as a viewer shows it: turned as its EXIF data say.

    Raises:
        Rejected: it cannot be read.
    """
    try:
        data = media.read_file(path)
    except OSError as error:
        raise Rejected("unreadable file", str(error.strerror)) from None
    image = media.decode_image(data)
    if b"Exif" not in data and b"eXIf" not in data:  # JPEG and TIFF, PNG
        return image
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def faces(image: Image, search: Search) -> Iterator[Face]:
    """The faces of one picture.

    Raises:
        Rejected: the picture is too small to hold one.
    """
    crop, (height, width) = search.crop, image.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise Rejected("picture too small", f"{width}x{height} px, at least {MIN_SIDE_PX} px each way are needed")
    if search.is_cropped:
        yield Face((0.0, 0.0, float(width), float(height)), None, (0, 0, width, height), image)
        return
    for box, score in _kept(_detected(image, search), search.is_largest_only):
        edges = crop_box(box, crop.margin_frac)
        if area(clamp(edges, width, height)) > 0:
            yield Face(box, score, edges, face_crop(image, edges, crop.crop_px))


def _frames(place: int, path: Path, fps: float | None, behind: int) -> Iterator[Shot]:
    try:
        for frame in videos.frames(path, fps, behind=behind):
            yield Shot(place, str(path), frame.number, frame.time_s, frame.image)
    except Rejected as error:
        yield Shot(place, str(path), END, lost=error)


def _detected(image: Image, search: Search) -> detection.Found:
    crop = search.crop
    detector = detection.detector(crop.detector, search.weights, crop.min_score)
    passes = detection.search(image, detector, crop.upsample)
    return next((found for _, found in passes if found.boxes), detection.Found([], []))


def _kept(found: detection.Found, is_largest_only: bool) -> list[tuple[Box, float]]:
    """Boxes and scores, best score first, then largest, left-most, top-most; or the largest alone."""
    ranked = sorted(
        zip(found.boxes, found.scores, strict=True), key=lambda each: (-each[1], -area(each[0]), *each[0][:2])
    )
    return sorted(ranked, key=lambda each: -area(each[0]))[:1] if is_largest_only else ranked
