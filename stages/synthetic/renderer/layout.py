"""The 68 landmarks of a neutral face: their positions and the indices of its parts.

Head frame: x to the right of the image, y down, z towards the camera; one unit is about 9.4 cm.
The face is painted and deformed in the frontal (x, y) plane. "Right" means the subject's right, the image's left.
The 51 inner points are landmarks 17 to 67 of the iBUG scheme; indices in this module count from landmark 17.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

INNER_FROM = 17  # landmarks 0 to 16 are the jaw line

RIGHT_BROW, LEFT_BROW = slice(0, 5), slice(5, 10)  # outer to inner, inner to outer
NOSE_ROOT, NOSE_TIP = 10, 13
NOSE_BASE = slice(14, 19)
RIGHT_WING, SEPTUM, LEFT_WING = 14, 16, 18
RIGHT_EYE, LEFT_EYE = slice(19, 25), slice(25, 31)
MOUTH = slice(31, 51)

# Inside one eye: points of the upper lid, and the points of the lower lid below them.
LID_UPPER, LID_LOWER = [1, 2], [5, 4]

# Inside the mouth (20 points).
RIGHT_CORNER, LEFT_CORNER, UPPER_LIP_TOP, LOWER_LIP_BOTTOM = 0, 6, 3, 9
OUTER_UPPER, OUTER_LOWER = [0, 1, 2, 3, 4, 5, 6], [0, 11, 10, 9, 8, 7, 6]
INNER_UPPER, INNER_LOWER = [12, 13, 14, 15, 16], [12, 19, 18, 17, 16]

_RIGHT_HALF = {
    0: (-0.627, -0.440), 1: (-0.531, -0.526), 2: (-0.396, -0.552), 3: (-0.255, -0.532), 4: (-0.124, -0.477),
    10: (0, -0.316), 11: (0, -0.183), 12: (0, -0.051), 13: (0, 0.084),
    14: (-0.157, 0.175), 15: (-0.082, 0.204), 16: (0, 0.228),
    19: (-0.471, -0.300), 20: (-0.388, -0.347), 21: (-0.287, -0.346),
    22: (-0.198, -0.279), 23: (-0.293, -0.262), 24: (-0.393, -0.264),
    31: (-0.302, 0.422), 32: (-0.191, 0.378), 33: (-0.078, 0.355), 34: (0, 0.375),
    40: (0, 0.588), 41: (-0.084, 0.579), 42: (-0.195, 0.531),
    43: (-0.256, 0.429), 44: (-0.079, 0.421), 45: (0, 0.429), 49: (0, 0.489), 50: (-0.081, 0.479),
}  # fmt: skip
_TWINS = {
    0: 9, 1: 8, 2: 7, 3: 6, 4: 5, 14: 18, 15: 17, 19: 28, 20: 27, 21: 26, 22: 25, 23: 30, 24: 29,
    31: 37, 32: 36, 33: 35, 41: 39, 42: 38, 43: 47, 44: 46, 50: 48,
}  # fmt: skip


def _symmetric() -> Array:
    points = np.zeros((51, 2))
    for index, (x, y) in _RIGHT_HALF.items():
        points[index] = x, y
        points[_TWINS.get(index, index)] = -x, y
    return points


NEUTRAL = _symmetric()  # (51, 2) units; the mouth is slightly open here and closed in `appearance`
