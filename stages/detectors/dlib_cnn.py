"""dlib's convolutional face detector (max-margin object detection): finds turned faces as well, slow without a GPU."""

from pathlib import Path
from typing import Any

import dlib

from stages.faces.detection import Detector, Found, around
from stages.storage.media import Image

WEIGHTS = "dlib's mmod_human_face_detector.dat"


def version() -> str:
    """Of the library; the network is named by its weights."""
    return f"dlib {dlib.__version__}"


def load(weights: Path, min_score: float) -> Detector:
    """The network in `weights`; scores are about 0 to 1.

    Raises:
        ValueError: the file does not hold this network.
    """
    try:
        search: Any = dlib.cnn_face_detection_model_v1(str(weights))  # pyright: ignore[reportAttributeAccessIssue]
    except RuntimeError:
        raise ValueError("another or a damaged file") from None

    def find(image: Image, upsample: int) -> Found:
        return found(search(image, upsample), min_score)

    return find


def found(detections: Any, min_score: float) -> Found:
    """Boxes as edges and confidences of dlib's detections, weak ones left out."""
    kept = [face for face in detections if face.confidence >= min_score]
    boxes = [around(face.rect.left(), face.rect.top(), face.rect.right(), face.rect.bottom()) for face in kept]
    return Found(boxes, [float(face.confidence) for face in kept])
