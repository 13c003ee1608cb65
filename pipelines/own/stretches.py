"""Faces of videos, searched in every few frames only and interpolated in those between.

A stretch is the frames after a searched one, up to the next searched one. Where both show the same faces, each at
nearly the same place, boxes and scores of the frames between lie on a straight line. Where they do not, because a face
comes, goes, moves fast or touches another one, the frame in the middle is searched as well, and so on with both halves.
So a face is lost only if it comes and goes within one stretch.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, islice

from fabnet.boxes import Box, area, overlap
from pipelines.own import batches, detection
from pipelines.own.detection import Face, FrameFaces, InputFrame, Search
from stages.faces.detection import batched
from stages.footage import shots
from stages.runtime import workers
from stages.storage.media import Image

LONGEST_S = 0.25  # of a stretch, whatever the rate: of frames that are further apart each is searched
LEAST_OVERLAP = 0.3  # of a face's boxes at both ends of a stretch, intersection over union
LEAST_LIKENESS = 0.65  # a shot ends where two frames correlate less
SHOT_PX = 128  # shorter side that is enough to tell shots apart
MOST_BYTES = 2**28  # of frames that wait for their faces

Stretch = list[InputFrame]
Submit = Callable[[InputFrame], Callable[[], FrameFaces]]


def detect_all(frames: Iterable[InputFrame], search: Search) -> Generator[FrameFaces, None, None]:
    """The faces of each frame, in order; detection runs in one process per core, or in batches on a GPU.

    Raises:
        UserError: a process died.
    """
    rest = iter(frames)
    first = list(islice(rest, 2))
    processes = workers.available() if len(first) > 1 else 1
    every = replace(search, is_largest_only=False)  # which one is the largest is asked when the stretch is filled
    with _searching(every, processes) as (submit, ahead):
        before: FrameFaces | None = None
        for stretch, end in _searched(stretches(chain(first, rest), search.detect_every), submit, ahead):
            found = end()
            for faces in chain(_between(before, stretch[:-1], found, submit, every), [found]):
                yield _largest(faces) if search.is_largest_only else faces
            before = found


def stretches(frames: Iterable[InputFrame], detect_every: int) -> Iterator[Stretch]:
    """The frames in stretches: at most `detect_every` frames, LONGEST_S, and within one shot of one size.

    The first frame of a shot or of another size, an image and an error are stretches of their own.
    """
    start: InputFrame | None = None  # the searched frame before the stretch, if there is one in the same shot
    stretch: Stretch = []
    for frame in _shots(frames):
        if stretch and not (len(stretch) < detect_every and _reaches(start, frame)):
            yield stretch
            start, stretch = stretch[-1], []
        if frame.is_cut:
            start = None
        stretch.append(frame)
    if stretch:
        yield stretch


def _shots(frames: Iterable[InputFrame]) -> Iterator[InputFrame]:
    """The frames, with the time of the one before, and `is_cut` where another shot of the same video begins."""
    before: tuple[int, float | None, Image] | None = None  # source, time and thumbnail
    for frame in frames:
        if frame.image is None:
            yield frame
            continue
        step = max(1, min(frame.image.shape[:2]) // SHOT_PX)
        small = shots.thumbnail(frame.image[::step, ::step])
        before_s, is_cut = None, False
        if before is not None and before[0] == frame.source_number:
            before_s, is_cut = before[1], shots.likeness(before[2], small) < LEAST_LIKENESS
        before = frame.source_number, frame.time_s, small
        yield replace(frame, before_s=before_s, is_cut=is_cut)


def _reaches(start: InputFrame | None, frame: InputFrame) -> bool:
    """Whether a stretch that follows `start` may hold the frame."""
    if start is None or start.time_s is None or frame.time_s is None or frame.is_cut:
        return False
    if start.image is None or frame.image is None or start.image.shape != frame.image.shape:
        return False
    return start.source_number == frame.source_number and frame.time_s - start.time_s <= LONGEST_S + 1e-6


@contextmanager
def _searching(search: Search, processes: int) -> Generator[tuple[Submit, int], None, None]:
    """A function that hands a frame to the detector, and how many frames it is handed ahead."""
    crop = search.crop
    together = None if search.is_cropped else batched(crop.detector, search.weights, crop.min_score)
    if together is not None:
        yield batches.Batches(search, together).submit, batches.FRAMES
        return
    with workers.submitting(partial(detection.detect, search=search), processes) as submit:
        yield submit, workers.IN_FLIGHT * processes


def _searched(
    found: Iterable[Stretch], submit: Submit, ahead: int
) -> Iterator[tuple[Stretch, Callable[[], FrameFaces]]]:
    """Each stretch, and a function that waits for the faces of its last frame, which is searched ahead."""
    waiting: deque[tuple[Stretch, Callable[[], FrameFaces]]] = deque()
    held_bytes = 0
    for stretch in found:
        waiting.append((stretch, submit(stretch[-1])))
        held_bytes += _bytes(stretch)
        while waiting and (len(waiting) >= ahead or held_bytes > MOST_BYTES):
            held_bytes -= _bytes(waiting[0][0])
            yield waiting.popleft()
    yield from waiting


def _bytes(stretch: Stretch) -> int:
    return sum(frame.image.nbytes for frame in stretch if frame.image is not None)


def _between(
    before: FrameFaces | None, frames: Stretch, end: FrameFaces, submit: Submit, search: Search
) -> Iterator[FrameFaces]:
    """The faces of the frames between two searched ones."""
    if not frames or before is None:
        return
    pairs = None if before.error or end.error else _pairs(before.faces, end.faces)
    if pairs is not None:
        for frame in frames:
            yield _interpolated(frame, pairs, _share(frame, before.frame, end.frame), search)
        return
    middle = len(frames) // 2
    found = replace(submit(frames[middle])(), is_key=False)
    yield from _between(before, frames[:middle], found, submit, search)
    yield found
    yield from _between(found, frames[middle + 1 :], end, submit, search)


def _pairs(one: Sequence[Face], other: Sequence[Face]) -> list[tuple[Face, Face]] | None:
    """Every face with the same face in the other frame; None if it is not plain which is which."""
    if len(one) != len(other):
        return None
    pairs: list[tuple[Face, Face]] = []
    for face in one:
        near = [candidate for candidate in other if overlap(face.box, candidate.box) > 0]
        if len(near) != 1 or overlap(face.box, near[0].box) < LEAST_OVERLAP:
            return None
        pairs.append((face, near[0]))
    return pairs if len({id(face) for _, face in pairs}) == len(pairs) else None


def _share(frame: InputFrame, start: InputFrame, end: InputFrame) -> float:
    """Where the frame lies between the two by its time, 0 to 1."""
    span_s = (end.time_s or 0.0) - (start.time_s or 0.0)
    return ((frame.time_s or 0.0) - (start.time_s or 0.0)) / span_s if span_s > 0 else 1.0


def _interpolated(frame: InputFrame, pairs: Iterable[tuple[Face, Face]], share: float, search: Search) -> FrameFaces:
    bare = replace(frame, image=None)
    image = frame.image
    if image is None:
        return FrameFaces(bare, is_key=False)
    found = [(_mixed(one, other, share), _score(one, other, share)) for one, other in pairs]
    faces = detection.cut_out(image, found, search, is_interpolated=True)
    size_px = (image.shape[1], image.shape[0])
    return FrameFaces(replace(bare, size_px=size_px), tuple(faces), is_key=False)


def _mixed(one: Face, other: Face, share: float) -> Box:
    x0, y0, x1, y1 = (a + share * (b - a) for a, b in zip(one.box, other.box, strict=True))
    return x0, y0, x1, y1


def _score(one: Face, other: Face, share: float) -> float:
    low, high = one.score or 0.0, other.score or 0.0
    return low + share * (high - low)


def _largest(of: FrameFaces) -> FrameFaces:
    return replace(of, faces=tuple(sorted(of.faces, key=lambda face: -area(face.box))[:1]))
