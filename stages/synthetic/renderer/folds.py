"""Wrinkles and folds, which darken the skin depending on the deformed points and the action units.

Much of an expression (AU4, AU6, AU7, AU9) is visible in these lines rather than in the landmarks.
"""

from typing import Any

import cv2
import numpy as np

from stages.synthetic.renderer import layout
from stages.synthetic.renderer.canvas import HEIGHT_PX, ORIGIN, PX_PER_UNIT, WIDTH_PX, Canvas, Image
from stages.synthetic.renderer.curves import THROUGH_3, THROUGH_4, THROUGH_5
from stages.synthetic.renderer.expression import ActionUnits
from stages.synthetic.renderer.head import Shape
from stages.synthetic.renderer.layout import Array

DARKEST = 0.62  # share of the light that the darkest fold absorbs
FAINTEST = 3.0  # grey levels; a fainter line is not drawn
LINE_BLUR_PX, FOLD_BLUR_PX = 2.2, 5.0
NASOLABIAL_TOP = 0.25  # units above the nose base, the upper end of all wide folds


def darken(texture: Image, shape: Shape, points: Array, au: ActionUnits) -> Image:
    """The skin `texture` (540, 400, 3) darkened by every fold of this face."""
    lines = Canvas(np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8))
    wide = lines.blank(0.0)
    for side, name in ((-1, "R"), (1, "L")):
        face = _Side(points, side, name)
        _beside_the_mouth(lines, wide, face, au)
        _around_the_eye(lines, face, au)
    _forehead(lines, points, au)
    _under_nose_and_lip(lines, shape, points, au)
    light = 255 - (_blurred(lines, wide, points) * DARKEST).astype(np.uint8)
    return np.asarray(cv2.multiply(texture, cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), scale=1 / 255), np.uint8)


class _Side:
    """The points of one side of the face; `side` is -1 for the image's left, 1 for its right."""

    def __init__(self, points: Array, side: int, name: str) -> None:
        self.side, self.name = side, name
        mouth = points[layout.MOUTH]
        is_right = side < 0
        self.corner = mouth[layout.RIGHT_CORNER if is_right else layout.LEFT_CORNER]
        self.wing = points[layout.RIGHT_WING if is_right else layout.LEFT_WING]
        self.lower_lid = points[[19, 24, 23, 22] if is_right else [28, 29, 30, 25]]  # outer to inner
        self.inner_brow = points[4 if is_right else 5]

    def at(self, start: Array, *offsets: tuple[float, float]) -> Array:
        """Points (n, 2) at `offsets` from `start`; positive x points away from the nose."""
        return start + np.array(offsets) * (self.side, 1)


def _line(on: Canvas, points: Array, strength: float, width_px: int) -> None:
    if strength > FAINTEST:
        on.line(points, float(min(strength, 255)), width_px)


def _beside_the_mouth(lines: Canvas, wide: Canvas, face: _Side, au: ActionUnits) -> None:
    pull, dimple = au[f"AU12{face.name}"], au[f"AU14{face.name}"]
    nasolabial = np.concatenate([
        face.at(face.wing, (0.02, -0.05), (0.07, 0.02)),
        face.at((face.wing + face.corner) / 2, (0.09 + 0.03 * pull, -0.02)),
        face.at(face.corner, (0.085 + 0.02 * pull, -0.03), (0.07 + 0.02 * pull, 0.05)),
    ])  # fmt: skip
    _line(wide, THROUGH_5 @ nasolabial, 50 + 120 * pull + 150 * au["AU9"] + 90 * au["AU10"] + 40 * au["AU20"], 9)
    _line(lines, face.at(face.corner, (0.03, -0.035), (0.04, 0), (0.03, 0.03)), 30 + 190 * dimple + 40 * pull, 4)
    _line(lines, face.at(face.corner, (0.01, 0.02), (0.035, 0.09)), 150 * au["AU15"], 4)
    _line(lines, THROUGH_3 @ face.at(face.wing, (0.012, -0.075), (0.035, -0.03), (-0.005, 0.012)), 120, 3)


def _around_the_eye(lines: Canvas, face: _Side, au: ActionUnits) -> None:
    outer = face.lower_lid[0]
    for tilt in (-0.04, 0, 0.045):  # crow's feet
        _line(lines, face.at(outer, (0.05, 0.6 * tilt), (0.12, 1.8 * tilt)), 120 * au["AU6"], 2)
    under = face.lower_lid + np.array([(0, 0.02), (0, 0.055), (0, 0.06), (0, 0.035)])
    _line(lines, THROUGH_4 @ under, 35 + 120 * au["AU6"] + 60 * au["AU7"], 3)
    _line(lines, face.at(face.inner_brow, (-0.05, -0.05), (-0.055, 0.07)), 190 * au["AU4"], 3)


def _forehead(lines: Canvas, points: Array, au: ActionUnits) -> None:
    root_y = points[layout.NOSE_ROOT, 1]
    for below in (0, 0.045, 0.09):
        wrinkle = np.array([(-0.07, root_y + below), (0, root_y + below + 0.02), (0.07, root_y + below)])
        _line(lines, THROUGH_3 @ wrinkle, 150 * au["AU9"], 2)
    brow_y = points[[2, 7], 1].mean()
    for above in (0.12, 0.2, 0.28):
        y = brow_y - above
        wrinkle = np.array([(-0.42, y + 0.02), (0, y + 0.01 - 0.02 * au["AU4"]), (0.42, y + 0.02)])
        _line(lines, THROUGH_3 @ wrinkle, 130 * max(au["AU1"], au["AU2"]) * (1 - 0.3 * above), 2)


def _under_nose_and_lip(lines: Canvas, shape: Shape, points: Array, au: ActionUnits) -> None:
    mouth, base_y = points[layout.MOUTH], points[layout.SEPTUM, 1]
    _line(lines, THROUGH_5 @ (points[layout.NOSE_BASE] + (0, 0.012)), 150, 4)
    _line(lines, THROUGH_5 @ (mouth[layout.OUTER_LOWER[1:-1]] + (0, 0.03)), 105 + 60 * au["AU17"], 6)
    for side, index in ((-1, 2), (1, 4)):  # philtrum
        ridge = np.array([(0.035 * side, base_y + 0.05), (0.04 * side, mouth[index, 1] - 0.03)])
        _line(lines, ridge, 35, 3)
    chin = np.array([(-0.1, shape.chin_y - 0.17), (0, shape.chin_y - 0.2), (0.1, shape.chin_y - 0.17)])
    _line(lines, THROUGH_3 @ chin, 130 * au["AU17"] if au["AU17"] > 0.05 else 0, 4)


def _blurred(lines: Canvas, wide: Canvas, points: Array) -> Any:
    top = int((points[layout.SEPTUM, 1] - NASOLABIAL_TOP - ORIGIN[1]) * PX_PER_UNIT)
    wide.image[top:] = cv2.GaussianBlur(wide.image[top:], (0, 0), FOLD_BLUR_PX)
    return cv2.add(cv2.GaussianBlur(lines.image, (0, 0), LINE_BLUR_PX), wide.image)
