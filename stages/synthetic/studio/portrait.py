"""Still pictures as found on the web: any size, face anywhere, any light, sharp or not."""

from dataclasses import dataclass

import numpy as np

from fabnet.pose import Pose
from stages.synthetic.studio import expression, render, scenery
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.expression import ActionUnits
from stages.synthetic.studio.identity import Identity
from stages.synthetic.studio.render import Frame, Sensor

SIDE_PX = (220, 400)
PX_PER_UNIT = (58.0, 90.0)  # below 58 dlib's detector of 80 px faces begins to miss
ROOM = 1.3  # units that are kept free on every side of the face's middle


@dataclass(frozen=True)
class Turn:
    """Range of head poses: |yaw| is drawn from `yaw_deg`, small angles most often; pitch and roll up to their limit."""

    yaw_deg: tuple[float, float] = (0.0, 29.0)
    pitch_deg: float = 12.0
    roll_deg: float = 11.0

    def draw(self, rng: np.random.Generator) -> Pose:
        low, high = self.yaw_deg
        yaw = rng.triangular(low, low, high) * rng.choice((-1, 1))
        return Pose.degrees(yaw, *(rng.uniform(-limit, limit) for limit in (self.pitch_deg, self.roll_deg)))


def take(
    who: Identity, rng: np.random.Generator, *, emotion: str, turn: Turn, strength: tuple[float, float] = (0.5, 1.0)
) -> Frame:
    """One picture of `who`; all of the face lies inside it."""
    au, pose, camera = expression.draw(rng, emotion, strength), turn.draw(rng), frame_up(rng)
    return shoot(who, rng, au=au, pose=pose, camera=camera)


def shoot(who: Identity, rng: np.random.Generator, *, au: ActionUnits, pose: Pose, camera: Camera) -> Frame:
    """One picture of `who`, who holds that expression and pose."""
    gaze = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 0.3)))
    sensor = Sensor(blur_px=max(0.0, float(rng.uniform(-0.5, 1.0))), noise=float(rng.uniform(1, 4)))
    room = scenery.background(rng, camera.height_px, camera.width_px)
    return render.frame(who, room, au, pose, camera, rng=rng, gaze=gaze, sensor=sensor)


def empty_room(rng: np.random.Generator) -> render.Image:
    """A picture with nobody in it."""
    height_px, width_px = (int(side) for side in rng.integers(*SIDE_PX, 2))
    return scenery.background(rng, height_px, width_px)


def frame_up(rng: np.random.Generator) -> Camera:
    """A picture of any size with room for a whole face somewhere in it."""
    width_px, height_px = (int(side) for side in rng.integers(*SIDE_PX, 2))
    low, high = PX_PER_UNIT
    px_per_unit = float(rng.uniform(low, min(high, min(width_px, height_px) / (2 * ROOM))))
    x, y = (float(rng.uniform(ROOM * px_per_unit, side - ROOM * px_per_unit)) for side in (width_px, height_px))
    return Camera(width_px, height_px, (x, y), px_per_unit)
