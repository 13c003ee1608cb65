"""The head as a height field z(x, y) in closed form, and the landmarks that lie on it.

The outline (half width over height) bounds a dome in depth; Gaussian bumps model nose, brows, cheeks and chin.
Every painted point (x, y) therefore has exactly one position in space: landmarks are exact by construction.
"""

from dataclasses import dataclass

import numpy as np

from stages.synthetic.renderer import layout
from stages.synthetic.renderer.curves import gauss, smoothstep
from stages.synthetic.renderer.expression import ActionUnits, jaw_drop, smile
from stages.synthetic.renderer.layout import Array

JAW_HEIGHTS = np.array([0, 0.17, 0.34, 0.51, 0.67, 0.81, 0.915, 0.978, 1.0])  # landmarks 0 to 8, eyes to chin
JAW_INSET = 0.985  # of the half width, so that the jaw line lies on the front of the mesh


@dataclass(frozen=True)
class Shape:
    """One person's neutral head; lengths in units."""

    points: Array  # (51, 2) inner points
    half_width: float
    top_y: float
    widest_y: float
    chin_y: float
    jaw_powers: tuple[float, float]  # exponents of the outline below `widest_y`
    depth: float
    chin_forward: float
    nose_height: float
    nose_width: float  # factor on the neutral nose
    bridge_width: float

    @property
    def eye(self) -> tuple[float, float]:
        """Centre (x, y) between the corners of the left eye; the right eye is its mirror image."""
        corners = self.points[[25, 28]].mean(axis=0)
        return float(abs(corners[0])), float(self.points[[19, 22], 1].mean())

    @property
    def nose_tip_y(self) -> float:
        return float(self.points[layout.NOSE_TIP, 1])

    @property
    def nose_base_y(self) -> float:
        return float(self.points[layout.SEPTUM, 1])

    def mouth_y(self, index: int) -> float:
        """Y of a mouth point of the neutral face."""
        return float(self.points[layout.MOUTH.start + index, 1])


def outline(shape: Shape, y: Array, drop: float) -> tuple[Array, Array, Array]:
    """Half width, depth of the side line and height of the dome above it, at `y`, if the chin is `drop` lower."""
    chin_y = shape.chin_y + drop
    above = np.clip((shape.widest_y - y) / (shape.widest_y - shape.top_y), 0, 1)
    below = np.clip((y - shape.widest_y) / (chin_y - shape.widest_y), 0, 1)
    p, q = shape.jaw_powers
    is_skull = y < shape.widest_y
    width = shape.half_width * np.where(is_skull, (1 - above**2.4) ** (1 / 2.2), (1 - below**p) ** (1 / q))
    side_z = shape.chin_forward * smoothstep(-0.15, 1.0, y - drop)
    cap = np.where(is_skull, (1 - above**2.6) ** (1 / 2.2), np.sqrt(1 - 0.95 * below**10))
    return np.maximum(width, 1e-4), side_z, (shape.depth - side_z) * cap


def dome(across: Array) -> Array:
    """Height of the front above its side line, 0..1, at `across` from 0 (middle) to 1 (side)."""
    return np.sqrt(np.maximum(1 - across**2.4, 0))


def surface(shape: Shape, x: Array, y: Array, au: ActionUnits) -> Array:
    """Depth z of the front of the head at (x, y); `x` and `y` broadcast."""
    width, side_z, height = outline(shape, y, jaw_drop(au))
    arch = dome(np.clip(np.abs(x / width), 0, 1))
    return side_z + height * arch + relief(shape, x, y, au) * np.minimum(1, 2 * arch)


def relief(shape: Shape, x: Array, y: Array, au: ActionUnits) -> Array:
    """Depth that nose, eyes, cheeks, mouth and chin add to the dome."""
    aside = np.abs(x)
    return _nose(shape, x, y, au) + _eyes_and_cheeks(shape, aside, y, au) + _mouth_and_chin(shape, x, y, au)


def _nose(shape: Shape, x: Array, y: Array, au: ActionUnits) -> Array:
    root_y, tip_y, base_y = shape.eye[1] - 0.02, shape.nose_tip_y, shape.nose_base_y
    along = np.clip((y - root_y) / (tip_y - root_y), 0, 1)
    profile = shape.nose_height * along**1.25 * (1 - smoothstep(tip_y + 0.01, base_y + 0.05, y))
    z = profile * np.exp(-((x / (shape.bridge_width + 0.055 * along)) ** 2))
    z += gauss(x, 0, 0.10) * 0.05 * gauss(y, tip_y + 0.02, 0.09)
    aside = np.abs(x)
    z += gauss(aside, 0.115 * shape.nose_width, 0.065) * 0.085 * gauss(y, base_y - 0.07, 0.07)
    if au["AU9"]:
        z += gauss(aside, 0.17, 0.05) * 0.02 * au["AU9"] * gauss(y, base_y - 0.16, 0.08)
    return z


def _eyes_and_cheeks(shape: Shape, aside: Array, y: Array, au: ActionUnits) -> Array:
    eye_x, eye_y = shape.eye
    cheek = 0.04 + 0.05 * au["AU6"] + 0.05 * smile(au) + 0.02 * au["AU9"]
    return (
        gauss(aside, 0.30, 0.26) * 0.06 * gauss(y, eye_y - 0.19, 0.08)  # brow ridge
        - gauss(aside, eye_x, 0.19) * 0.10 * gauss(y, eye_y - 0.02, 0.12)  # socket
        + gauss(aside, eye_x, 0.12) * 0.055 * gauss(y, eye_y + 0.01, 0.075)  # eyeball
        - gauss(aside, 0.15, 0.07) * 0.06 * gauss(y, eye_y, 0.10)  # inner corner
        + gauss(aside, 0.42, 0.20) * cheek * gauss(y, 0.02 - 0.06 * au["AU6"], 0.16)
        - gauss(aside, 0.56, 0.14) * 0.035 * gauss(y, 0.38, 0.20)  # hollow under the cheek
        - gauss(aside, 0.70, 0.12) * 0.03 * gauss(y, -0.55, 0.20)  # temple
    )


def _mouth_and_chin(shape: Shape, x: Array, y: Array, au: ActionUnits) -> Array:
    drop = jaw_drop(au)
    upper_y, lower_y = shape.mouth_y(layout.UPPER_LIP_TOP), shape.mouth_y(layout.LOWER_LIP_BOTTOM)
    corner_x, corner_y = 0.27 + 0.05 * smile(au), shape.mouth_y(layout.RIGHT_CORNER)
    lips = 0.05 * gauss(y, upper_y + 0.03, 0.05) - 0.045 * gauss(y, lower_y + 0.08 + 0.85 * drop, 0.05)
    return (
        gauss(x, 0, 0.22) * lips  # upper lip, and the groove under the lower one
        + gauss(x, 0, 0.20) * 0.055 * gauss(y, lower_y - 0.05 + 0.75 * drop, 0.055)  # lower lip
        + gauss(x, 0, 0.18) * (0.055 + 0.03 * au["AU17"]) * gauss(y, shape.chin_y - 0.13 + drop, 0.10)
        - gauss(np.abs(x), corner_x, 0.05) * 0.02 * gauss(y, corner_y, 0.05)
    )


def landmarks(shape: Shape, points: Array, au: ActionUnits) -> Array:
    """The 68 landmarks (68, 3) in the head frame, given the deformed inner points (51, 2)."""
    drop = jaw_drop(au)
    eye_y = shape.eye[1] + 0.03
    y = eye_y + (shape.chin_y + drop - 0.012 - eye_y) * JAW_HEIGHTS
    x = outline(shape, y, drop)[0] * JAW_INSET
    x[-1] = 0
    jaw = np.concatenate([np.stack([-x, y], 1), np.stack([x, y], 1)[-2::-1]])
    flat = np.concatenate([jaw, points])
    return np.column_stack([flat, surface(shape, flat[:, 0], flat[:, 1], au)])
