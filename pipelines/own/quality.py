"""How good the picture of a face is, so that rows of a table can be filtered by it."""

from typing import NamedTuple

import cv2

from fabnet.boxes import PixelBox, area, clamp, whole
from fabnet.images import resize
from stages.storage.media import Image

SIDE_PX = 128  # of the square whose sharpness is measured, so that faces of all sizes compare


class Quality(NamedTuple):
    sharpness: float  # variance of the Laplacian of the grey face at SIDE_PX, in grey levels (0 to 255) squared
    side_px: int  # longer side of what was cut out, px of the frame
    outside_frac: float  # share of it that lies outside the frame, 0 to 1


def measure(image: Image, square: PixelBox) -> Quality:
    """The quality of the face in a square, of which some lies inside the image (H, W, 3) RGB."""
    height, width = image.shape[:2]
    inside = whole(clamp(square, width, height))
    x0, y0, x1, y1 = square
    side_px = max(x1 - x0, y1 - y0)
    return Quality(_sharpness(image, inside, SIDE_PX / side_px), side_px, 1 - area(inside) / area(square))


def _sharpness(image: Image, inside: PixelBox, scale: float) -> float:
    """Of the pixels inside alone: the edge of the black outside would count as detail."""
    x0, y0, x1, y1 = inside
    size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    grey = cv2.cvtColor(resize(image[y0:y1, x0:x1], *size), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())
