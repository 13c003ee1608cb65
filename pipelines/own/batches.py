"""Frames searched in batches, where a detector is faster so."""

from collections.abc import Callable, Sequence
from functools import partial

from pipelines.own import detection
from pipelines.own.detection import FrameFaces, InputFrame, Search
from stages.faces.detection import MIN_SIDE_PX, Batched, first_found_of_each
from stages.storage.media import Image

FRAMES = 8  # that are searched at once


class Batches:
    """Frames that wait until the faces of one of them are asked for; then all of them are searched."""

    def __init__(self, search: Search, batched: Batched) -> None:
        self._search, self._batched = search, batched
        self._waiting: list[InputFrame] = []
        self._found: dict[int, FrameFaces] = {}  # by the number of the frame among all that were submitted
        self._count = 0

    def submit(self, frame: InputFrame) -> Callable[[], FrameFaces]:
        """A function to be called once, which gives the faces of the frame."""
        self._waiting.append(frame)
        self._count += 1
        return partial(self._wait, self._count - 1)

    def _wait(self, number: int) -> FrameFaces:
        if number not in self._found:
            first = self._count - len(self._waiting)
            self._found.update(enumerate(detect(self._waiting, self._search, self._batched), first))
            self._waiting = []
        return self._found.pop(number)


def detect(frames: Sequence[InputFrame], search: Search, batched: Batched) -> list[FrameFaces]:
    """The faces of each frame; those of one size are searched at once."""
    by_size: dict[tuple[int, ...], dict[int, Image]] = {}  # by the number of the frame
    found: dict[int, FrameFaces] = {}
    for number, frame in enumerate(frames):
        if frame.image is None or min(frame.image.shape[:2]) < MIN_SIDE_PX:
            found[number] = detection.detect(frame, search)
        else:
            by_size.setdefault(frame.image.shape, {})[number] = frame.image
    for images in by_size.values():
        of_each = first_found_of_each(list(images.values()), batched, search.crop.upsample)
        for (number, image), of in zip(images.items(), of_each, strict=True):
            faces = detection.cut_out(image, zip(of.boxes, of.scores, strict=True), search)
            found[number] = detection.shown(frames[number], image, faces)
    return [found[number] for number in range(len(frames))]
