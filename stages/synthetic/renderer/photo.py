"""Still images like photos from the web: random size, face position, light and sharpness."""

from dataclasses import dataclass

import numpy as np

from fabnet.pose import Pose
from stages.synthetic.renderer import expression, render
from stages.synthetic.renderer.background import draw_background
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.canvas import Image
from stages.synthetic.renderer.expression import ActionUnits
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.render import Frame, Sensor

SIDE_PX = (220, 400)
PX_PER_UNIT = (58.0, 90.0)  # smaller faces would be below the 80 px that dlib's detector needs
MARGIN = 1.3  # units between the centre of the face and every edge of the image, at least


@dataclass(frozen=True)
class PoseRange:
    """Range of random poses: |yaw| in `yaw_deg`, small angles most often; |pitch| and |roll| up to a limit."""

    yaw_deg: tuple[float, float] = (0.0, 29.0)
    pitch_deg: float = 12.0
    roll_deg: float = 11.0

    def draw(self, rng: np.random.Generator) -> Pose:
        low, high = self.yaw_deg
        yaw = rng.triangular(low, low, high) * rng.choice((-1, 1))
        return Pose.degrees(yaw, *(rng.uniform(-limit, limit) for limit in (self.pitch_deg, self.roll_deg)))


def of_emotion(
    person: Identity,
    rng: np.random.Generator,
    *,
    emotion: str,
    poses: PoseRange,
    strength: tuple[float, float] = (0.5, 1.0),
) -> Frame:
    """One image of `person` showing `emotion`; the whole face lies inside it."""
    au, pose, camera = expression.draw(rng, emotion, strength), poses.draw(rng), draw_camera(rng)
    return of_action_units(person, rng, au=au, pose=pose, camera=camera)


def of_action_units(
    person: Identity, rng: np.random.Generator, *, au: ActionUnits, pose: Pose, camera: Camera
) -> Frame:
    """One image of `person` with these action units and this pose; gaze, sensor and background are random."""
    gaze = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 0.3)))
    sensor = Sensor(blur_px=max(0.0, float(rng.uniform(-0.5, 1.0))), noise=float(rng.uniform(1, 4)))
    background = draw_background(rng, camera.height_px, camera.width_px)
    return render.frame(person, background, au, pose, camera, rng=rng, gaze=gaze, sensor=sensor)


def without_face(rng: np.random.Generator) -> Image:
    """An image of a background alone."""
    height_px, width_px = (int(side) for side in rng.integers(*SIDE_PX, 2))
    return draw_background(rng, height_px, width_px)


def draw_camera(rng: np.random.Generator) -> Camera:
    """A random image size and face position, with the whole face inside the image."""
    width_px, height_px = (int(side) for side in rng.integers(*SIDE_PX, 2))
    low, high = PX_PER_UNIT
    px_per_unit = float(rng.uniform(low, min(high, min(width_px, height_px) / (2 * MARGIN))))
    x, y = (float(rng.uniform(MARGIN * px_per_unit, side - MARGIN * px_per_unit)) for side in (width_px, height_px))
    return Camera(width_px, height_px, (x, y), px_per_unit)
