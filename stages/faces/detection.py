"""Face detectors found by name, and whether the weight file that a user supplies is the one that was asked for.

A module in `stages/detectors` offers `WEIGHTS` (one clause: which weight file it needs; empty: none), `version()`
and `load(weights, min_score) -> Detector`, which raises ValueError (one clause: what was found) for another file.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from fabnet.boxes import Box
from stages.runtime import plugins, supplied
from stages.runtime.errors import UserError
from stages.storage.media import Image


class Found(NamedTuple):
    """All faces of one picture; empty where there is none."""

    boxes: list[Box]  # continuous edges, px of the picture; may leave it
    scores: list[float]  # in the detector's own scale, at least its `min_score`


Detector = Callable[[Image, int], Found]  # RGB image, number of doublings before the search

MAX_ENLARGED_PX = 16_000_000  # of the whole image: beyond it a later pass takes GBs and finds faces of no use


def around(left: int, top: int, right: int, bottom: int) -> Box:
    """The box around four outermost pixels that belong to the face, as dlib gives them."""
    return float(left), float(top), float(right + 1), float(bottom + 1)


def search(image: Image, detector: Detector, passes: Iterable[int]) -> Iterator[tuple[int, Found]]:
    """Doublings of each pass and the faces that it finds; a pass is made when it is asked for.

    A pass after the first that would enlarge the image beyond MAX_ENLARGED_PX ends the search.
    """
    for number, upsample in enumerate(passes):
        if number and image.shape[0] * image.shape[1] * 4**upsample > MAX_ENLARGED_PX:
            return
        yield upsample, detector(image, upsample)


@cache
def detector(name: str, weights: str, min_score: float) -> Detector:
    """The detector, loaded once in each process.

    Raises:
        UserError: no such detector.
        ValueError: its weight file is another one or damaged; `provenance` reports that.
    """
    return _module(name).load(Path(weights), min_score)


def provenance(name: str, weights: str, sha256: str, min_score: float, *, setting: str) -> dict[str, str]:
    """What decides which faces are found: the detector, its version and its weight file's digest.

    `setting` is what the user calls the path `weights`: `detect.weights` or `--weights`.

    Raises:
        UserError: no such detector, no weight file where one is needed, or another one than `sha256` names.
    """
    module = _module(name)
    if module.WEIGHTS:
        supplied.check(weights, sha256, setting, f"{module.WEIGHTS}, which {name} needs")
        _check_opens(name, weights, min_score, setting)
    elif weights:
        raise UserError(f"{setting} should be empty, since {name} needs no weight file")
    return {"detector": name, "detector_version": module.version(), "weights_sha256": sha256 if module.WEIGHTS else ""}


def _check_opens(name: str, weights: str, min_score: float, setting: str) -> None:
    try:
        detector(name, weights, min_score)
    except ValueError as error:
        raise UserError(f"{setting} should be {_module(name).WEIGHTS}, found {error}: {weights}") from None


def _module(name: str) -> ModuleType:
    return plugins.load("stages.detectors", name)
