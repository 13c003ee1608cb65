"""Where shots end: a frame that hardly resembles the one before begins another."""

import cv2
import numpy as np

from fabnet.images import Image, resize

THUMBNAIL_PX = 32


def thumbnail(image: Image) -> Image:
    """The frame in THUMBNAIL_PX x THUMBNAIL_PX grey levels."""
    return np.asarray(cv2.cvtColor(resize(image, THUMBNAIL_PX, THUMBNAIL_PX), cv2.COLOR_RGB2GRAY), np.uint8)


def likeness(one: Image, other: Image) -> float:
    """Correlation of two thumbnails, -1 to 1, whatever their brightness; 0 where one of them is plain."""
    a, b = (image.astype(np.float64) - image.mean() for image in (one, other))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0
