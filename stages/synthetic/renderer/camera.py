"""Camera and perspective.

Image coordinates are pixels from the centre of the top left pixel, x right, y down.
"""

from dataclasses import dataclass

from fabnet.pose import Pose
from stages.synthetic.renderer.layout import Array

DISTANCE = 9.0  # of the camera, in units


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
