"""Clips of one person: a smoothly wandering pose, one expression that comes and goes, talking and blinks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fabnet.pose import Pose
from stages.synthetic.studio import expression, render, scenery
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.curves import smoothstep
from stages.synthetic.studio.expression import ActionUnits
from stages.synthetic.studio.identity import Identity
from stages.synthetic.studio.layout import Array
from stages.synthetic.studio.render import Frame, Sensor

FPS = 25.0
HEAD_HZ, SPEECH_HZ = (0.10, 0.70), (1.5, 4.0)
YAW_LIMIT_DEG = 34.0
BLINK_S = 0.07  # Gaussian half width of a blink
BLINK_EVERY_S = 2.5


@dataclass(frozen=True)
class Moment:
    """How the person holds and looks at one frame of a clip."""

    pose: Pose
    au: ActionUnits
    gaze: tuple[float, float]
    camera: Camera


def play(
    who: Identity,
    rng: np.random.Generator,
    *,
    emotion: str,
    frames: int,
    camera: Camera,
    step: int = 1,
    sensor: Sensor | None = None,
) -> Iterator[tuple[Moment, Frame]]:
    """Every `step`-th frame of a clip of `frames` frames at 25 fps, before a still background."""
    room = scenery.background(rng, camera.height_px, camera.width_px)
    for moment in act(rng, emotion=emotion, frames=frames, camera=camera)[::step]:
        yield (
            moment,
            render.frame(who, room, moment.au, moment.pose, moment.camera, rng=rng, gaze=moment.gaze, sensor=sensor),
        )


def act(rng: np.random.Generator, *, emotion: str, frames: int, camera: Camera) -> list[Moment]:
    """The course of a clip; `camera` is the framing around which the head wanders."""
    t = np.arange(frames) / FPS
    yaw = _limited(rng.uniform(-8, 8) + _wander(rng, t, 26), YAW_LIMIT_DEG)
    pitch, roll = _wander(rng, t, 10), _wander(rng, t, 8)
    side_px = min(camera.width_px, camera.height_px)
    shift = np.stack([_wander(rng, t, 0.02), _wander(rng, t, 0.015)], 1) * side_px
    zoom = 1 + _wander(rng, t, 0.03)
    gaze = np.stack([_wander(rng, t, 0.4), _wander(rng, t, 0.2)], 1)
    poses = [Pose.degrees(*angles) for angles in zip(yaw, pitch, roll, strict=True)]
    cameras = [_moved(camera, shift[i], zoom[i]) for i in range(frames)]
    gazes = [(float(right), float(down)) for right, down in gaze]
    return [Moment(*parts) for parts in zip(poses, _course(rng, t, emotion), gazes, cameras, strict=True)]


def _moved(camera: Camera, shift_px: Array, zoom: float) -> Camera:
    x, y = camera.centre_xy_px
    centre = (x + float(shift_px[0]), y + float(shift_px[1]))
    return replace(camera, centre_xy_px=centre, px_per_unit=camera.px_per_unit * float(zoom))


def _wander(rng: np.random.Generator, t: Array, amplitude: float, hz: tuple[float, float] = HEAD_HZ) -> Array:
    """Three sine waves of random strength, pace and phase; spread about 0.4 `amplitude`."""
    waves = [
        rng.uniform(0.3, 1) * np.sin(2 * math.pi * (rng.uniform(*hz) * t + rng.uniform(0, 1)))
        for _ in range(3)
    ]  # fmt: skip
    return amplitude * 0.5 * np.sum(waves, axis=0)


def _limited(angle: Array, limit: float) -> Array:
    return limit * np.tanh(angle / limit)


def _course(rng: np.random.Generator, t: Array, emotion: str) -> list[ActionUnits]:
    """Action units of every frame: the expression's onset, apex and offset, speech and blinks."""
    length_s = len(t) / FPS
    start, end = rng.uniform(0.05, 0.35) * length_s, rng.uniform(0.6, 0.9) * length_s
    apex = rng.uniform(0.6, 1.0) * smoothstep(start, start + 0.6, t) * (1 - 0.8 * smoothstep(end, end + 0.7, t))
    speech = rng.uniform(0.1, 0.5) * np.clip(_wander(rng, t, 1.0, SPEECH_HZ), 0, 1)
    blink = _blinks(rng, t)
    course: list[ActionUnits] = []
    for i in range(len(t)):
        units = expression.action_units(expression.EMOTIONS[emotion], float(apex[i]))
        units["AU25"] = max(units["AU25"], float(speech[i]))
        units["AU26"] = max(units["AU26"], 0.5 * float(speech[i]))
        units["AU43"] = max(units["AU43"], float(blink[i]))
        course.append(units)
    return course


def _blinks(rng: np.random.Generator, t: Array) -> Array:
    length_s = len(t) / FPS
    times = rng.uniform(0, length_s, max(1, round(length_s / BLINK_EVERY_S)))
    return np.exp(-(((t[:, None] - times) / BLINK_S) ** 2)).max(axis=1)
