"""A blurred background for an image."""

import cv2
import numpy as np

from stages.synthetic.renderer import noise
from stages.synthetic.renderer.canvas import Image, colour
from stages.synthetic.renderer.layout import Array


def draw_background(rng: np.random.Generator, height_px: int, width_px: int) -> Image:
    """A gradient with smooth noise and up to eight rectangles or discs, out of focus; (height, width, 3) BGR."""
    saturation = rng.uniform(0.1, 0.6)
    first, second = _random_colour(rng, saturation), _random_colour(rng, saturation)
    across, down = rng.uniform(-1, 1), rng.uniform(-1, 1)
    slope = np.linspace(0, across, width_px)[None] + np.linspace(0, down, height_px)[:, None]
    slope = (slope - slope.min()) / max(float(np.ptp(slope)), 1e-6)
    image = first + (second - first) * slope[..., None]
    image += noise.field(rng, height_px, width_px, 50, 3) * rng.uniform(0, 12)
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 9)):
        _draw_shape(image, rng, colour(_random_colour(rng, saturation)))
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(1.2, 6)), np.uint8)


def _random_colour(rng: np.random.Generator, saturation: float) -> Array:
    vivid = rng.uniform(10, 245, 3)
    return vivid.mean() * (1 - saturation) + vivid * saturation


def _draw_shape(image: Image, rng: np.random.Generator, fill: tuple[float, ...]) -> None:
    height_px, width_px = image.shape[:2]
    x, y = int(rng.integers(-20, width_px)), int(rng.integers(-20, height_px))
    w, h = int(rng.integers(10, width_px // 2)), int(rng.integers(10, height_px))
    if rng.random() < 0.7:
        cv2.rectangle(image, (x, y), (x + w, y + h), fill, -1)
    else:
        cv2.circle(image, (x, y), w // 2, fill, -1)
