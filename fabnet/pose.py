"""Head pose as three angles, in image coordinates: x right, y down, z towards the camera."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3), applied to column vectors: pitch first, roll last."""
        (cy, sy), (cp, sp), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (self.yaw, self.pitch, self.roll))
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return tilt @ turn @ nod
