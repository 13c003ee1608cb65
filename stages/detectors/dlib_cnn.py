"""dlib's convolutional face detector (max-margin object detection): finds turned faces as well, slow without a GPU.

A GPU is used if dlib was built with CUDA, and searches several images at once. On a CPU a batch saves 5 to 16 % of the
time and takes the memory of all its images; one process per core is faster there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dlib

from stages.faces.detection import MAX_ENLARGED_PX, Batched, Detector, Found, around
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
    search = _network(weights)

    def find(image: Image, upsample: int) -> Found:
        return found(search(image, upsample), min_score)

    return find


def load_batched(weights: Path, min_score: float) -> Batched | None:
    """The network for several images at once; None without a GPU.

    Raises:
        ValueError: as `load`.
    """
    if not has_gpu():
        return None
    search = _network(weights)

    def find(images: Sequence[Image], upsample: int) -> list[Found]:
        enlarged_px = images[0].shape[0] * images[0].shape[1] * 4**upsample
        at_once = max(1, MAX_ENLARGED_PX // enlarged_px)  # no more memory than one image may take
        return [found(detections, min_score) for detections in search(list(images), upsample, at_once)]

    return find


def has_gpu() -> bool:
    """Whether dlib was built with CUDA, and finds a device."""
    return bool(dlib.DLIB_USE_CUDA) and dlib.cuda.get_num_devices() > 0  # pyright: ignore[reportAttributeAccessIssue]


def _network(weights: Path) -> Any:
    try:
        return dlib.cnn_face_detection_model_v1(str(weights))  # pyright: ignore[reportAttributeAccessIssue]
    except RuntimeError:
        raise ValueError("another or a damaged file") from None


def found(detections: Any, min_score: float) -> Found:
    """Boxes as edges and confidences of dlib's detections, weak ones left out."""
    kept = [face for face in detections if face.confidence >= min_score]
    boxes = [around(face.rect.left(), face.rect.top(), face.rect.right(), face.rect.bottom()) for face in kept]
    return Found(boxes, [float(face.confidence) for face in kept])
