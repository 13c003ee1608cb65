"""Anti-aliased drawing on the face texture, in head units.

The texture is the frontal (x, y) plane at 200 pixels per unit. OpenCV gets points with four fractional bits, so that
a moving face does not jump from pixel to pixel.
"""

from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.synthetic.renderer.layout import Array

Image = NDArray[np.uint8]

PX_PER_UNIT = 200.0
ORIGIN = np.array([-1.0, -1.55])  # units, the texture's top left
WIDTH_PX, HEIGHT_PX = 400, 540

FRACTION_BITS = 4
ONE_PX = 1 << FRACTION_BITS


def fixed(points_px: Array) -> NDArray[np.int32]:
    """Pixel coordinates as OpenCV's fixed-point integers."""
    return np.round(np.asarray(points_px) * ONE_PX).astype(np.int32)


def length(units: float) -> int:
    """A length in units as a fixed-point number of texture pixels."""
    return int(units * PX_PER_UNIT * ONE_PX)


def colour(base: Array, factor: float = 1.0) -> tuple[float, ...]:
    """`base` (BGR), brightened by `factor`, within 0..255."""
    return tuple(float(channel) for channel in np.clip(np.asarray(base) * factor, 0, 255))


def point(xy_px: Array) -> tuple[int, int]:
    x, y = fixed(xy_px)
    return int(x), int(y)


class Canvas:
    """A view of the texture or a part of it, with drawing functions in units."""

    def __init__(self, image: Any, corner_px: tuple[int, int] = (0, 0)) -> None:
        self.image = image
        self.corner_px = corner_px

    def around(self, points: Array, margin: float) -> Self:
        """The part of the texture that contains `points` with a margin of `margin` units."""
        low, high = ((edge - ORIGIN) * PX_PER_UNIT for edge in (points.min(0) - margin, points.max(0) + margin))
        x0, y0 = (max(int(edge), 0) for edge in low)
        x1, y1 = (int(edge) for edge in high)
        return type(self)(self.image[y0:y1, x0:x1], (x0, y0))

    def blank(self, fill: tuple[float, ...] | float) -> Self:
        """A canvas of the same extent: a mask if `fill` is a number, otherwise a colour image."""
        height, width = self.image.shape[:2]
        shape = (height, width, len(fill)) if isinstance(fill, tuple) else (height, width)
        image = np.empty(shape, np.uint8)
        image[:] = np.asarray(fill).astype(np.uint8)
        return type(self)(image, self.corner_px)

    def px(self, points: Array) -> Array:
        """Pixel coordinates (..., 2) in this view of `points` (..., 2) in units."""
        return (np.asarray(points, float) - ORIGIN) * PX_PER_UNIT - self.corner_px

    def line(self, points: Array, value: tuple[float, ...] | float, width_px: int) -> None:
        cv2.polylines(self.image, [fixed(self.px(points))], False, _scalar(value), width_px, cv2.LINE_AA, FRACTION_BITS)

    def fill(self, polygon: Array, value: tuple[float, ...] | float) -> None:
        cv2.fillPoly(self.image, [fixed(self.px(polygon))], _scalar(value), cv2.LINE_AA, FRACTION_BITS)

    def disc(self, centre: Array, radius: float, value: tuple[float, ...]) -> None:
        cv2.circle(self.image, point(self.px(centre)), length(radius), value, -1, cv2.LINE_AA, FRACTION_BITS)

    def ellipse(
        self, centre: Array, radii: tuple[float, float], tilt_deg: float, value: tuple[float, ...], width_px: int = -1
    ) -> None:
        axes = (length(radii[0]), length(radii[1]))
        where = point(self.px(centre))
        cv2.ellipse(self.image, where, axes, tilt_deg, 0, 360, value, width_px, cv2.LINE_AA, FRACTION_BITS)

    def blend(self, over: Image | Array, mask: Image) -> None:
        """Blend an image, or one colour (3,), over this canvas with opacity `mask` / 255."""
        opacity = (mask.astype(np.float32) / 255)[..., None]
        self.image[:] = self.image * (1 - opacity) + np.asarray(over, np.float32) * opacity


def _scalar(value: tuple[float, ...] | float) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
