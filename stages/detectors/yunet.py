"""YuNet, OpenCV's small convolutional face detector: fast on a CPU, finds turned and small faces.

Images are searched one by one: OpenCV takes one a call, and on a CPU batches are slower.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fabnet.images import resize
from stages.faces.detection import Detector, Found
from stages.storage.media import Image

WEIGHTS = "YuNet's face_detection_yunet_*.onnx"

NMS_IOU, MOST_FACES = 0.3, 5000  # OpenCV's defaults
MAX_SIDE_PX = 2048  # a larger image is shrunk to this side before the search, whose memory grows with the area


def version() -> str:
    """Of the library; the network is named by its weights."""
    return f"opencv {cv2.__version__}"


def load(weights: Path, min_score: float) -> Detector:
    """The network in `weights`; scores are 0 to 1.

    Raises:
        ValueError: the file does not hold this network.
    """
    try:
        search: Any = cv2.FaceDetectorYN.create(str(weights), "", (64, 64), min_score, NMS_IOU, MOST_FACES)
        search.detect(np.zeros((64, 64, 3), np.uint8))
    except cv2.error:
        raise ValueError("another or a damaged file") from None

    def find(image: Image, upsample: int) -> Found:
        height, width = image.shape[:2]
        scale = min(2**upsample, MAX_SIDE_PX / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        search.setInputSize(size)
        _, rows = search.detect(cv2.cvtColor(resize(image, *size), cv2.COLOR_RGB2BGR))
        return found(rows, (width / size[0], height / size[1]))

    return find


def found(rows: Any, stretch: tuple[float, float]) -> Found:
    """Boxes and scores of OpenCV's rows (x, y, width, height, 5 points, score), scaled to the image's pixels."""
    table = np.zeros((0, 15)) if rows is None else np.asarray(rows, np.float64)
    x0, y0, width, height = (table[:, column] * stretch[column % 2] for column in range(4))
    boxes = np.stack([x0, y0, x0 + width, y0 + height], axis=1)
    return Found([(float(a), float(b), float(c), float(d)) for a, b, c, d in boxes], table[:, 14].tolist())
