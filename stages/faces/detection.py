"""Face detectors found by name, and whether the weight file that a user supplies is the one that was asked for.

A module in `stages/detectors` offers `WEIGHTS` (one clause: which weight file it needs; empty: none), `version()`
and `load(weights, min_score) -> Detector`, which raises UserError where the file is none of its own.
"""

from collections.abc import Callable
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
    """All faces of one picture; empty where there is none."""

    boxes: list[Box]  # continuous edges, px of the picture; may leave it
    scores: list[float]  # in the detector's own scale, at least its `min_score`


Detector = Callable[[Image, int], Found]  # RGB image, number of doublings before the search


def around(left: int, top: int, right: int, bottom: int) -> Box:
    """The box around four outermost pixels that belong to the face, as dlib gives them."""
    return float(left), float(top), float(right + 1), float(bottom + 1)


@cache
def detector(name: str, weights: str, min_score: float) -> Detector:
    """The detector, loaded once in each process.

    Raises:
        UserError: no such detector, or its weight file cannot be read.
    """
    return _module(name).load(Path(weights), min_score)


def provenance(params: DetectParams) -> dict[str, str]:
    """What decides which faces are found: the detector, its version and its weight file's digest.

    Raises:
        UserError: no such detector, no weight file where one is needed, or another one than the parameters name.
    """
    module = _module(params.detector)
    if not module.WEIGHTS:
        if params.weights:
            raise UserError(f"detect.weights should be empty, since {params.detector} needs no weight file")
        return {"detector": params.detector, "detector_version": module.version(), "weights_sha256": ""}
    wanted = f"{module.WEIGHTS}, which {params.detector} needs"
    supplied.check(params.weights, params.weights_sha256, "detect", wanted)
    detector(params.detector, params.weights, params.min_score)
    return {
        "detector": params.detector,
        "detector_version": module.version(),
        "weights_sha256": params.weights_sha256,
    }


def _module(name: str) -> ModuleType:
    return plugins.load("stages.detectors", name)
