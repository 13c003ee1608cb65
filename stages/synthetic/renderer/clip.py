"""Clips of one person: a smooth head trajectory, one expression with onset and offset, speech and blinks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fabnet.pose import Pose
from stages.synthetic.renderer import expression, render
from stages.synthetic.renderer.background import draw_background
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.curves import smoothstep
from stages.synthetic.renderer.expression import ActionUnits
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array
from stages.synthetic.renderer.render import Frame, Sensor

FPS = 25.0
HEAD_HZ, SPEECH_HZ = (0.10, 0.70), (1.5, 4.0)
YAW_LIMIT_DEG = 34.0
BLINK_S = 0.07  # of a blink, in exp(-(t / BLINK_S)^2)
BLINK_EVERY_S = 2.5


@dataclass(frozen=True)
class FrameState:
    """What changes from frame to frame of a clip."""

    pose: Pose
    au: ActionUnits
    gaze: tuple[float, float]  # to the image's right and down, -1..1
    camera: Camera


def render_clip(
    person: Identity,
    rng: np.random.Generator,
    *,
    emotion: str,
    frames: int,
    camera: Camera,
    step: int = 1,
    sensor: Sensor | None = None,
) -> Iterator[tuple[FrameState, Frame]]:
    """Every `step`-th frame of a clip of `frames` frames at 25 fps, in front of a constant background."""
    background = draw_background(rng, camera.height_px, camera.width_px)
    for state in draw_states(rng, emotion=emotion, frames=frames, camera=camera)[::step]:
        yield (
            state,
            render.frame(
                person, background, state.au, state.pose, state.camera, rng=rng, gaze=state.gaze, sensor=sensor
            ),
        )


def draw_states(rng: np.random.Generator, *, emotion: str, frames: int, camera: Camera) -> list[FrameState]:
    """The states of all `frames` frames; the head moves around the position that `camera` gives it."""
    t = np.arange(frames) / FPS
    yaw = _soft_limited(rng.uniform(-8, 8) + _oscillation(rng, t, 26), YAW_LIMIT_DEG)
    pitch, roll = _oscillation(rng, t, 10), _oscillation(rng, t, 8)
    side_px = min(camera.width_px, camera.height_px)
    shift = np.stack([_oscillation(rng, t, 0.02), _oscillation(rng, t, 0.015)], 1) * side_px
    zoom = 1 + _oscillation(rng, t, 0.03)
    gaze = np.stack([_oscillation(rng, t, 0.4), _oscillation(rng, t, 0.2)], 1)
    poses = [Pose.degrees(*angles) for angles in zip(yaw, pitch, roll, strict=True)]
    cameras = [_moved(camera, shift[i], zoom[i]) for i in range(frames)]
    gazes = [(float(right), float(down)) for right, down in gaze]
    units = _action_units(rng, t, emotion)
    return [FrameState(*state) for state in zip(poses, units, gazes, cameras, strict=True)]


def _moved(camera: Camera, shift_px: Array, zoom: float) -> Camera:
    x, y = camera.centre_xy_px
    centre = (x + float(shift_px[0]), y + float(shift_px[1]))
    return replace(camera, centre_xy_px=centre, px_per_unit=camera.px_per_unit * float(zoom))


def _oscillation(rng: np.random.Generator, t: Array, amplitude: float, hz: tuple[float, float] = HEAD_HZ) -> Array:
    """Sum of three sine waves of random amplitude, frequency and phase at times `t` (s); std about 0.4 `amplitude`."""
    waves = [
        rng.uniform(0.3, 1) * np.sin(2 * math.pi * (rng.uniform(*hz) * t + rng.uniform(0, 1)))
        for _ in range(3)
    ]  # fmt: skip
    return amplitude * 0.5 * np.sum(waves, axis=0)


def _soft_limited(angle: Array, limit: float) -> Array:
    return limit * np.tanh(angle / limit)


def _action_units(rng: np.random.Generator, t: Array, emotion: str) -> list[ActionUnits]:
    """Action units of every frame: onset, apex and offset of the expression, speech and blinks."""
    length_s = len(t) / FPS
    start, end = rng.uniform(0.05, 0.35) * length_s, rng.uniform(0.6, 0.9) * length_s
    apex = rng.uniform(0.6, 1.0) * smoothstep(start, start + 0.6, t) * (1 - 0.8 * smoothstep(end, end + 0.7, t))
    speech = rng.uniform(0.1, 0.5) * np.clip(_oscillation(rng, t, 1.0, SPEECH_HZ), 0, 1)
    blink = _blinks(rng, t)
    frames: list[ActionUnits] = []
    for i in range(len(t)):
        units = expression.action_units(expression.EMOTIONS[emotion], float(apex[i]))
        units["AU25"] = max(units["AU25"], float(speech[i]))
        units["AU26"] = max(units["AU26"], 0.5 * float(speech[i]))
        units["AU43"] = max(units["AU43"], float(blink[i]))
        frames.append(units)
    return frames


def _blinks(rng: np.random.Generator, t: Array) -> Array:
    """Intensity of AU43 at times `t` (s), 0..1."""
    length_s = len(t) / FPS
    times = rng.uniform(0, length_s, max(1, round(length_s / BLINK_EVERY_S)))
    return np.exp(-(((t[:, None] - times) / BLINK_S) ** 2)).max(axis=1)
