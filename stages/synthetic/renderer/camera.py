"""Head pose, camera and perspective.

Image coordinates are pixels from the centre of the top left pixel, x right, y down.
"""

import math
from dataclasses import dataclass

import numpy as np

from stages.synthetic.renderer.layout import Array

DISTANCE = 9.0  # of the camera, in units


@dataclass(frozen=True)
class Pose:
    """Radians. Positive yaw turns the nose to the image's right, pitch lifts it, roll turns clockwise."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @staticmethod
    def degrees(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> "Pose":
        return Pose(math.radians(yaw), math.radians(pitch), math.radians(roll))

    @property
    def rotation(self) -> Array:
        """(3, 3), applied to column vectors: pitch first, roll last."""
        (cy, sy), (cp, sp), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (self.yaw, self.pitch, self.roll))
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return tilt @ turn @ nod


@dataclass(frozen=True)
class Camera:
    width_px: int
    height_px: int
    centre_xy_px: tuple[float, float]  # projection of the head frame's origin
    px_per_unit: float

    @staticmethod
    def square(side_px: int, scale: float = 0.30, centre: tuple[float, float] = (0.5, 0.54)) -> "Camera":
        """The camera of a square image; `scale` and `centre` are shares of its side."""
        x, y = centre
        return Camera(side_px, side_px, (x * side_px - 0.25, y * side_px - 0.25), scale * side_px)

    def project(self, points: Array, pose: Pose) -> Array:
        """Image coordinates (..., 2) of head points (..., 3)."""
        turned = points @ pose.rotation.T
        factor = self.px_per_unit / (1 - turned[..., 2:] / DISTANCE)
        return turned[..., :2] * factor + self.centre_xy_px
