"""Face-box maths. A box is x0, y0, x1, y1 in px as continuous edges: the first pixel spans 0 to 1.

A point lies at pixel centres instead: the centre of the first pixel is (0, 0), which is (0.5, 0.5) on the
scale of edges.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
PixelBox = tuple[int, int, int, int]  # edges that fall between pixels


def whole(box: Box) -> PixelBox:
    """The box with every edge moved to the nearest boundary between pixels, halves upward."""
    x0, y0, x1, y1 = (math.floor(edge + 0.5) for edge in box)
    return x0, y0, x1, y1


def expand(box: Box, margin_frac: float) -> Box:
    """The box grown on each side by int(margin_frac * side + 0.5) px, as in the original's 300-W crop."""
    x0, y0, x1, y1 = box
    grow_x, grow_y = int(margin_frac * (x1 - x0) + 0.5), int(margin_frac * (y1 - y0) + 0.5)
    return x0 - grow_x, y0 - grow_y, x1 + grow_x, y1 + grow_y


def square(box: Box) -> Box:
    """The smallest square around the box, with the same centre; it may leave the image."""
    x0, y0, x1, y1 = box
    centre_x, centre_y, half = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0) / 2
    return centre_x - half, centre_y - half, centre_x + half, centre_y + half


def moved(box: Box, scale: float, shift_frac: tuple[float, float]) -> Box:
    """The box with its sides scaled around its centre, then moved by shares of its first sides along x and y."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    centre_x, centre_y = (x0 + x1) / 2 + shift_frac[0] * width, (y0 + y1) / 2 + shift_frac[1] * height
    half_x, half_y = scale * width / 2, scale * height / 2
    return centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y


def crop_box(box: Box, margin_frac: float = 0.0) -> PixelBox:
    """The box to cut out for a detected face: with a margin, squared, at whole pixels; it may leave the image."""
    return whole(square(expand(box, margin_frac)))


def clamp(box: Box, width: int, height: int) -> Box:
    """The part of the box inside an image of that size; of area 0 if they do not meet."""
    x0, y0, x1, y1 = box
    left, top = min(max(x0, 0), width), min(max(y0, 0), height)
    return left, top, max(left, min(x1, width)), max(top, min(y1, height))


def area(box: Box) -> float:
    """Px squared; 0 for a box with swapped edges."""
    x0, y0, x1, y1 = box
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    shared = area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def choose_face(boxes: Sequence[Box], scores: Sequence[float], annotated: Box | None) -> int | None:
    """Index of the face to use, the same on every machine.

    With an annotated box: the face that overlaps it most; none if no face touches it. Ties, and images
    without an annotated box: highest score, then largest, then left-most, then top-most.
    """
    ranked = [
        (overlap(box, annotated) if annotated else 0.0, score, area(box), -box[0], -box[1], index)
        for index, (box, score) in enumerate(zip(boxes, scores, strict=True))
    ]
    if annotated:
        ranked = [rank for rank in ranked if rank[0] > 0]
    return max(ranked)[-1] if ranked else None


def around(points: NDArray[np.floating]) -> Box:
    """The smallest box around points (N, 2) given at pixel centres."""
    (x0, y0), (x1, y1) = points.min(axis=0) + 0.5, points.max(axis=0) + 0.5
    return float(x0), float(y0), float(x1), float(y1)


def follow(points: NDArray[np.floating], box: Box, size_px: int) -> NDArray[np.float64]:
    """Where points (N, 2) lie after `box` was cut out and scaled to a square; pixel centres before and after."""
    low, high = np.asarray(box[:2], np.float64), np.asarray(box[2:], np.float64)
    return (np.asarray(points, np.float64) + 0.5 - low) * (size_px / (high - low)) - 0.5


def centre_box(scale_px: int, pad_ltrb_px: tuple[int, int, int, int], centre_px: int) -> PixelBox:
    """What padding a frame of side `scale_px` and cutting its centre keeps, in px of the frame before padding.

    An odd remainder leaves the extra pixel at the right or bottom.
    """
    left, top, right, bottom = pad_ltrb_px
    x0 = (left + scale_px + right - centre_px) // 2 - left
    y0 = (top + scale_px + bottom - centre_px) // 2 - top
    return x0, y0, x0 + centre_px, y0 + centre_px
