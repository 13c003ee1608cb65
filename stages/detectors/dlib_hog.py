"""dlib's frontal face detector: histograms of oriented gradients, the paper's choice. Finds faces of 80 px and more."""

from pathlib import Path
from typing import Any

import dlib

from stages.faces.detection import Detector, Found, around
from stages.storage.media import Image

WEIGHTS = ""


def version() -> str:
    """Of the library, which contains the detector."""
    return f"dlib {dlib.__version__}"


def load(weights: Path, min_score: float) -> Detector:
    """The detector; scores are signed distances from its decision plane. `weights` is not used."""
    search: Any = dlib.get_frontal_face_detector()  # pyright: ignore[reportAttributeAccessIssue]

    def find(image: Image, upsample: int) -> Found:
        rectangles, scores, _ = search.run(image, upsample, min_score)
        return Found([around(r.left(), r.top(), r.right(), r.bottom()) for r in rectangles], list(scores))

    return find
