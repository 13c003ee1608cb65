"""A picture of one person, with exact landmarks.

The head sheet is shaded and projected coarsely, interpolated to a fine sheet of coloured points, and splatted
far to near into a canvas of twice the size; scaling that down smooths the edges. No depth buffer: columns are
drawn from both sides inwards to the one that faces the camera, so that the last point written is the nearest.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.pose import Pose
from stages.synthetic.studio import expression, head, scenery, sheet, texture
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.canvas import ORIGIN, PX_PER_UNIT, Image
from stages.synthetic.studio.expression import ActionUnits
from stages.synthetic.studio.identity import Identity
from stages.synthetic.studio.layout import Array

OVERSAMPLING = 2
MARGIN = 4  # oversampled pixels around the layer: points that leave the picture end there
TURNED_AWAY_RAD = math.radians(100)  # columns that face further away are not drawn
TONE_LIMIT = 1.12  # brightness at which the tone curve bends
GLOSS_POWER = 24


@dataclass(frozen=True)
class Frame:
    image: Image  # (H, W, 3) BGR
    landmarks: Array  # (68, 2) pixels from the centre of the top left pixel


@dataclass(frozen=True)
class Sensor:
    """What the camera adds to the picture."""

    blur_px: float = 0.0
    noise: float = 2.0  # standard deviation in grey levels


def frame(
    who: Identity,
    background: Image,
    au: ActionUnits,
    pose: Pose,
    camera: Camera,
    *,
    rng: np.random.Generator,
    gaze: tuple[float, float] = (0.0, 0.0),
    sensor: Sensor | None = None,
) -> Frame:
    """`who` before `background` (as large as the picture); `rng` draws nothing but the sensor noise."""
    points = expression.deform(who.shape.points, au)
    picture = texture.paint(who, points, au, gaze)
    canvas = background.copy()
    scenery.Body(canvas, who, camera, pose).draw()
    composed = lay_head(canvas, who, picture, points, au, pose=pose, camera=camera)
    space = head.landmarks(who.shape, points, au)
    return Frame(_sense(composed, sensor or Sensor(), rng), camera.project(space, pose))


def lay_head(
    canvas: Image, who: Identity, picture: Image, points: Array, au: ActionUnits, *, pose: Pose, camera: Camera
) -> Array:
    """The head, with `picture` as its frontal texture, over `canvas`; float32."""
    space = sheet.positions(who.shape, au, who.hair.lift)
    drop = expression.jaw_drop(au)
    x, y = sheet.painted_at(who.shape, drop)
    shade, gloss = _shade(who, space, sheet.occlusion(who.shape, points, x, y, drop), pose)
    bare = _look_up(picture, x, y)
    colours = _lit(who, bare, sheet.refine(shade), sheet.refine(gloss))
    seen_at = camera.project(space, pose)
    out = canvas.astype(np.float32)
    low, high = _extent(seen_at, camera)
    if (high > low).all():
        layer = _splat(seen_at, colours, pose, low, high)
        region = out[low[1] : high[1], low[0] : high[0]]
        region[:] = layer[..., :3] + region * (1 - layer[..., 3:].astype(np.float32) / 255)
    return out


def _shade(who: Identity, space: Array, open_to_light: Array, pose: Pose) -> tuple[Array, Array]:
    """Factor on the colour and added gloss (grey levels) for each point of the coarse sheet."""
    light = who.light
    normals = _normals(space) @ pose.rotation.T
    key, fill = np.maximum(normals @ light.key, 0), np.maximum(normals @ light.fill, 0)
    brightness = light.ambient * (0.75 + 0.25 * normals[..., 2]) + light.key_strength * key + light.fill_strength * fill
    brightness *= open_to_light * TONE_LIMIT
    shade = brightness / (1 + (brightness / TONE_LIMIT) ** 4) ** 0.25
    halfway = np.add(light.key, (0, 0, 1))
    mirrored = np.maximum(normals @ (halfway / np.linalg.norm(halfway)), 0)
    return shade, 255 * light.gloss * mirrored**GLOSS_POWER


def _normals(space: Array) -> Array:
    """Outward unit normals (96, 136, 3) of the coarse sheet."""
    (ax, ay, az), (bx, by, bz) = (np.moveaxis(np.gradient(space, axis=axis), -1, 0) for axis in (1, 0))
    normals = np.stack([by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax], -1)
    return normals / (np.sqrt((normals**2).sum(-1, keepdims=True)) + 1e-9)


def _look_up(picture: Image, x: Array, y: Array) -> Any:
    """Colour of each fine point in the frontal texture, given (x, y) of the coarse sheet in units."""
    u, v = sheet.refine((x - ORIGIN[0]) * PX_PER_UNIT), sheet.refine((y - ORIGIN[1]) * PX_PER_UNIT)
    return cv2.remap(picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _lit(who: Identity, bare: Any, shade: Array, gloss: Array) -> NDArray[np.uint32]:
    """Each fine point with its hair and its light on, as packed BGRA."""
    covered = cv2.blendLinear(who.hair.colour, bare, who.hair.opacity, 1 - who.hair.opacity)
    channels = [
        cv2.add(cv2.multiply(channel, shade, scale=float(tint), dtype=cv2.CV_32F), gloss, dtype=cv2.CV_8U)
        for channel, tint in zip(cv2.split(covered), who.light.tint, strict=True)
    ]
    packed: Any = cv2.merge([*channels, np.full_like(channels[0], 255)])
    return packed.view(np.uint32)[..., 0]


def _extent(seen_at: Array, camera: Camera) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 pixel (x, y) of the part of the picture that the head covers."""
    size = np.array([camera.width_px, camera.height_px])
    low, high = seen_at.min((0, 1)), seen_at.max((0, 1))
    return (
        np.clip(np.floor(low) - 1, 0, size).astype(np.int64),
        np.clip(np.ceil(high) + 2, 0, size).astype(np.int64),
    )


def _splat(
    seen_at: Array, colours: NDArray[np.uint32], pose: Pose, low: NDArray[np.int64], high: NDArray[np.int64]
) -> Image:
    """BGRA layer of pixels `low` to `high`, colour premultiplied with alpha."""
    width, height = ((high - low) * OVERSAMPLING + 2 * MARGIN).tolist()
    offset = MARGIN + 0.5 * (OVERSAMPLING - 1) - OVERSAMPLING * low
    column, row = (
        np.clip(np.rint(sheet.refine(seen_at[..., axis] * OVERSAMPLING + offset[axis])), 0, limit - 1).astype(np.int32)
        for axis, limit in ((0, width), (1, height))
    )
    index = row * width + column
    layer = np.zeros(height * width, np.uint32)
    rows = slice(None) if pose.pitch >= 0 else slice(None, None, -1)
    for columns in _far_to_near(pose.yaw):
        layer[index[columns, rows].ravel()] = colours[columns, rows].ravel()
    return _smoothed(layer.view(np.uint8).reshape(height, width, 4))


def _far_to_near(yaw: float) -> tuple[slice, slice]:
    """Columns from the left edge to the one that faces the camera, and from the right edge back to it."""
    angles = sheet.FINE_ANGLES
    facing = int(np.argmin(np.abs(angles + yaw)))
    first, last = np.searchsorted(angles, (-yaw - TURNED_AWAY_RAD, -yaw + TURNED_AWAY_RAD)).tolist()
    return slice(first, facing + 1), slice(last - 1, facing - 1 if facing else None, -1)


def _smoothed(layer: Image) -> Image:
    """`layer` without pinholes and margin, scaled down to the size of the picture."""
    alpha = layer[..., 3]
    closed = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    nearby = cv2.dilate(layer, np.ones((3, 3), np.uint8))
    filled: Any = cv2.copyTo(nearby, cv2.subtract(closed, alpha), layer.copy())
    inner = filled[MARGIN:-MARGIN, MARGIN:-MARGIN]
    height, width = inner.shape[:2]
    return np.asarray(cv2.resize(inner, (width // OVERSAMPLING, height // OVERSAMPLING), interpolation=cv2.INTER_AREA))


def _sense(picture: Array, sensor: Sensor, rng: np.random.Generator) -> Image:
    if sensor.blur_px > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sensor.blur_px), np.float32)
    grain = rng.standard_normal((*picture.shape[:2], 1), dtype=np.float32)
    return np.clip(picture + grain * np.float32(sensor.noise), 0, 255).astype(np.uint8)
