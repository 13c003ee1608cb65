"""An image of one person, with exact landmarks.

The coarse mesh of the head is shaded and projected, interpolated to a fine mesh of coloured points, and splatted far
to near into a layer of twice the size; scaling that down smooths the edges. There is no depth buffer: columns are
drawn from both sides towards the one that faces the camera, so that the last point written is the nearest.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.pose import Pose
from stages.synthetic.renderer import expression, head, mesh, texture
from stages.synthetic.renderer.body import Body
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.canvas import ORIGIN, PX_PER_UNIT, Image
from stages.synthetic.renderer.expression import ActionUnits
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array

OVERSAMPLING = 2
MARGIN = 4  # oversampled pixels around the layer, which take the points that lie outside the image
HIDDEN_FROM_RAD = math.radians(100)  # columns at a larger angle to the camera are not drawn
TONE_LIMIT = 1.12  # upper limit of the tone curve
GLOSS_POWER = 24


@dataclass(frozen=True)
class Frame:
    image: Image  # (H, W, 3) BGR
    landmarks: Array  # (68, 2) pixels from the centre of the top left pixel


@dataclass(frozen=True)
class Sensor:
    """Blur and noise of the camera."""

    blur_px: float = 0.0  # standard deviation
    noise: float = 2.0  # standard deviation in grey levels


def frame(
    person: Identity,
    background: Image,
    au: ActionUnits,
    pose: Pose,
    camera: Camera,
    *,
    rng: np.random.Generator,
    gaze: tuple[float, float] = (0.0, 0.0),
    sensor: Sensor | None = None,
) -> Frame:
    """`person` in front of `background`, a background of the image's size; `rng` is used for the sensor noise alone."""
    points = expression.deform(person.shape.points, au)
    face = texture.paint(person, points, au, gaze)
    canvas = background.copy()
    Body(canvas, person, camera, pose).draw()
    image = overlay_head(canvas, person, face, points, au, pose=pose, camera=camera)
    space = head.landmarks(person.shape, points, au)
    return Frame(_with_sensor(image, sensor or Sensor(), rng), camera.project(space, pose))


def overlay_head(
    canvas: Image, person: Identity, face: Image, points: Array, au: ActionUnits, *, pose: Pose, camera: Camera
) -> Array:
    """`canvas` (H, W, 3) with the head over it, float32; `face` is the head's frontal texture."""
    space = mesh.positions(person.shape, au, person.hair.lift)
    drop = expression.jaw_drop(au)
    x, y = mesh.texture_coordinates(person.shape, drop)
    shade, gloss = _shade(person, space, mesh.occlusion(person.shape, points, x, y, drop), pose)
    colours = _lit(person, _texture_at(face, x, y), mesh.refine(shade), mesh.refine(gloss))
    projected = camera.project(space, pose)
    out = canvas.astype(np.float32)
    low, high = _extent(projected, camera)
    if (high > low).all():
        layer = _splat(projected, colours, pose, low, high)
        region = out[low[1] : high[1], low[0] : high[0]]
        region[:] = layer[..., :3] + region * (1 - layer[..., 3:].astype(np.float32) / 255)
    return out


def _shade(person: Identity, space: Array, open_to_light: Array, pose: Pose) -> tuple[Array, Array]:
    """Factor on the colour and added gloss (grey levels), each (96, 136), of the coarse mesh."""
    light = person.light
    normals = _normals(space) @ pose.rotation.T
    key, fill = np.maximum(normals @ light.key, 0), np.maximum(normals @ light.fill, 0)
    brightness = light.ambient * (0.75 + 0.25 * normals[..., 2]) + light.key_strength * key + light.fill_strength * fill
    brightness *= open_to_light * TONE_LIMIT
    shade = brightness / (1 + (brightness / TONE_LIMIT) ** 4) ** 0.25
    halfway = np.add(light.key, (0, 0, 1))
    mirrored = np.maximum(normals @ (halfway / np.linalg.norm(halfway)), 0)
    return shade, 255 * light.gloss * mirrored**GLOSS_POWER


def _normals(space: Array) -> Array:
    """Outward unit normals (96, 136, 3) of the coarse mesh."""
    (ax, ay, az), (bx, by, bz) = (np.moveaxis(np.gradient(space, axis=axis), -1, 0) for axis in (1, 0))
    normals = np.stack([by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax], -1)
    return normals / (np.sqrt((normals**2).sum(-1, keepdims=True)) + 1e-9)


def _texture_at(face: Image, x: Array, y: Array) -> Any:
    """Colours (520, 560, 3) of the fine mesh from the frontal texture, given (x, y) of the coarse mesh in units."""
    u, v = mesh.refine((x - ORIGIN[0]) * PX_PER_UNIT), mesh.refine((y - ORIGIN[1]) * PX_PER_UNIT)
    return cv2.remap(face, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _lit(person: Identity, skin: Any, shade: Array, gloss: Array) -> NDArray[np.uint32]:
    """Colours (520, 560) of the fine mesh with hair and light, as packed BGRA."""
    covered = cv2.blendLinear(person.hair.colour, skin, person.hair.opacity, 1 - person.hair.opacity)
    channels = [
        cv2.add(cv2.multiply(channel, shade, scale=float(tint), dtype=cv2.CV_32F), gloss, dtype=cv2.CV_8U)
        for channel, tint in zip(cv2.split(covered), person.light.tint, strict=True)
    ]
    packed: Any = cv2.merge([*channels, np.full_like(channels[0], 255)])
    return packed.view(np.uint32)[..., 0]


def _extent(projected: Array, camera: Camera) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 pixel (x, y) of the part of the image that the head covers."""
    size = np.array([camera.width_px, camera.height_px])
    low, high = projected.min((0, 1)), projected.max((0, 1))
    return (
        np.clip(np.floor(low) - 1, 0, size).astype(np.int64),
        np.clip(np.ceil(high) + 2, 0, size).astype(np.int64),
    )


def _splat(
    projected: Array, colours: NDArray[np.uint32], pose: Pose, low: NDArray[np.int64], high: NDArray[np.int64]
) -> Image:
    """BGRA layer of the pixels `low` to `high` (x, y), with the colour premultiplied by alpha."""
    width, height = ((high - low) * OVERSAMPLING + 2 * MARGIN).tolist()
    offset = MARGIN + 0.5 * (OVERSAMPLING - 1) - OVERSAMPLING * low
    column, row = (
        np.clip(np.rint(mesh.refine(projected[..., axis] * OVERSAMPLING + offset[axis])), 0, limit - 1).astype(np.int32)
        for axis, limit in ((0, width), (1, height))
    )
    index = row * width + column
    layer = np.zeros(height * width, np.uint32)
    rows = slice(None) if pose.pitch >= 0 else slice(None, None, -1)
    for columns in _far_to_near(pose.yaw):
        layer[index[columns, rows].ravel()] = colours[columns, rows].ravel()
    return _smoothed(layer.view(np.uint8).reshape(height, width, 4))


def _far_to_near(yaw: float) -> tuple[slice, slice]:
    """Columns of the fine mesh from the left and from the right edge to the one that faces the camera."""
    angles = mesh.FINE_ANGLES
    facing = int(np.argmin(np.abs(angles + yaw)))
    first, last = np.searchsorted(angles, (-yaw - HIDDEN_FROM_RAD, -yaw + HIDDEN_FROM_RAD)).tolist()
    return slice(first, facing + 1), slice(last - 1, facing - 1 if facing else None, -1)


def _smoothed(layer: Image) -> Image:
    """`layer` with holes filled and without its margin, scaled down to the image's resolution."""
    alpha = layer[..., 3]
    closed = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    nearby = cv2.dilate(layer, np.ones((3, 3), np.uint8))
    filled: Any = cv2.copyTo(nearby, cv2.subtract(closed, alpha), layer.copy())
    inner = filled[MARGIN:-MARGIN, MARGIN:-MARGIN]
    height, width = inner.shape[:2]
    return np.asarray(cv2.resize(inner, (width // OVERSAMPLING, height // OVERSAMPLING), interpolation=cv2.INTER_AREA))


def _with_sensor(image: Array, sensor: Sensor, rng: np.random.Generator) -> Image:
    if sensor.blur_px > 0:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sensor.blur_px), np.float32)
    grain = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
    return np.clip(image + grain * np.float32(sensor.noise), 0, 255).astype(np.uint8)
