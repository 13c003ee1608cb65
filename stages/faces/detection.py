"""Face detectors by name, their passes over an image, and the check of a supplied weight file.

A module in `stages/detectors` offers `WEIGHTS` (the weight file that it needs, in one clause; empty: none), `version()`
and `load(weights, min_score) -> Detector`, which raises ValueError (one clause: what was found) for another file.
`load_batched(weights, min_score) -> Batched | None`, which it may offer, gives None where batches gain nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from fabnet.boxes import Box
from stages.runtime import plugins, supplied
from stages.runtime.errors import UserError
from stages.runtime.params import DetectParams
from stages.storage.media import Image


class Found(NamedTuple):
    """All faces of one image."""

    boxes: list[Box]  # continuous edges, px of the image; may leave it
    scores: list[float]  # in the detector's own scale, at least its `min_score`


Detector = Callable[[Image, int], Found]  # RGB image, doublings of its sides before the search -> faces
Batched = Callable[[Sequence[Image], int], list[Found]]  # the same of several images of one size at once

MIN_SIDE_PX = 16  # of an image: no face fits into less
MAX_ENLARGED_PX = 16_000_000  # a later pass over more pixels takes GBs of memory and finds faces too small to be used


def around(left: int, top: int, right: int, bottom: int) -> Box:
    """The box around the outermost pixels of the face, as dlib gives them."""
    return float(left), float(top), float(right + 1), float(bottom + 1)


def search(image: Image, detector: Detector, passes: Iterable[int]) -> Iterator[tuple[int, Found]]:
    """The doublings and the faces of each pass, which runs only when it is asked for.

    The first pass always runs; the passes end before one that would enlarge the image beyond MAX_ENLARGED_PX.
    """
    for number, upsample in enumerate(passes):
        if number and _is_too_large(image, upsample):
            return
        yield upsample, detector(image, upsample)


def first_found(image: Image, detector: Detector, passes: Iterable[int]) -> Found:
    """The faces of the first pass that finds any; none if no pass does."""
    return next((found for _, found in search(image, detector, passes) if found.boxes), Found([], []))


def first_found_of_each(images: Sequence[Image], batched: Batched, passes: Iterable[int]) -> list[Found]:
    """`first_found` of several images of one size, each pass over all that show no face yet."""
    found = [Found([], []) for _ in images]
    for number, upsample in enumerate(passes):
        rest = [place for place, of in enumerate(found) if not of.boxes]
        if not rest or (number and _is_too_large(images[0], upsample)):
            break
        for place, of in zip(rest, batched([images[place] for place in rest], upsample), strict=True):
            found[place] = of
    return found


def _is_too_large(image: Image, upsample: int) -> bool:
    return image.shape[0] * image.shape[1] * 4**upsample > MAX_ENLARGED_PX


@cache
def detector(name: str, weights: str, min_score: float) -> Detector:
    """The detector, loaded once per process.

    Raises:
        UserError: no such detector.
        ValueError: the weight file is not of this detector; `provenance` has checked that before.
    """
    return _module(name).load(Path(weights), min_score)


@cache
def batched(name: str, weights: str, min_score: float) -> Batched | None:
    """The detector for several images at once; None if it searches them no faster than one by one here.

    Raises:
        UserError: no such detector.
        ValueError: the weight file is not of this detector; `provenance` has checked that before.
    """
    load = getattr(_module(name), "load_batched", None)
    return None if load is None else load(Path(weights), min_score)


def provenance(name: str, weights: str, sha256: str, min_score: float, *, setting: str) -> dict[str, str]:
    """Metadata that name the detector: its module, its version and the digest of its weight file.

    Args:
        name: module of stages/detectors.
        weights: path of its weight file; empty where it needs none.
        sha256: digest that the weight file should have.
        min_score: weakest detection that counts.
        setting: name of the setting `weights` in error messages: `detect.weights` or `--weights`.

    Raises:
        UserError: no such detector, or a weight file that is missing, not of this detector, or has another digest.
    """
    module = _module(name)
    if module.WEIGHTS:
        supplied.check(weights, sha256, setting, f"{module.WEIGHTS}, which {name} needs")
        _check_opens(name, weights, min_score, setting)
    elif weights:
        raise UserError(f"{setting} should be empty, since {name} needs no weight file")
    return {"detector": name, "detector_version": module.version(), "weights_sha256": sha256 if module.WEIGHTS else ""}


def configured(detect: DetectParams) -> dict[str, str]:
    """`provenance` of the detector that the parameters name."""
    return provenance(
        detect.detector, detect.weights, detect.weights_sha256, detect.min_score, setting="detect.weights"
    )


def _check_opens(name: str, weights: str, min_score: float, setting: str) -> None:
    try:
        detector(name, weights, min_score)
    except ValueError as error:
        raise UserError(f"{setting} should be {_module(name).WEIGHTS}, found {error}: {weights}") from None


def _module(name: str) -> ModuleType:
    return plugins.load("stages.detectors", name)
