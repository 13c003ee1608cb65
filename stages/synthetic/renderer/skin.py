"""The skin texture, painted once per person."""

import numpy as np

from stages.synthetic.renderer import layout, noise
from stages.synthetic.renderer.appearance import Appearance
from stages.synthetic.renderer.canvas import HEIGHT_PX, ORIGIN, PX_PER_UNIT, WIDTH_PX, Image
from stages.synthetic.renderer.curves import gauss, smoothstep
from stages.synthetic.renderer.head import Shape
from stages.synthetic.renderer.layout import Array


def paint(shape: Shape, appearance: Appearance, rng: np.random.Generator) -> Image:
    """Skin (540, 400, 3) BGR with grain, red cheeks and nose, darker eye sockets and beard."""
    size = (HEIGHT_PX, WIDTH_PX)
    x = (np.arange(WIDTH_PX, dtype=np.float32) / PX_PER_UNIT + ORIGIN[0])[None]
    y = (np.arange(HEIGHT_PX, dtype=np.float32) / PX_PER_UNIT + ORIGIN[1])[:, None]
    grain = 0.02 * noise.field(rng, *size, 40) + 0.012 * noise.field(rng, *size, 8)
    grain += 0.014 * rng.standard_normal(size, dtype=np.float32)
    aside = np.abs(x)
    blush = 0.10 * gauss(aside, 0.42, 0.17) * gauss(y, 0.1, 0.16) + 0.08 * gauss(x, 0, 0.12) * gauss(y, 0.1, 0.10)
    eye_x, eye_y = shape.eye
    sockets = 0.13 * gauss(aside, eye_x, 0.20) * gauss(y, eye_y, 0.13)
    light = ((1 + grain) * (1 - sockets))[..., None]
    image = appearance.skin.astype(np.float32) * light * (1 - blush[..., None] * np.array([1, 1, 0.15], np.float32))
    if appearance.beard:
        opacity = (_beard(shape, x, y, rng) * appearance.beard)[..., None]
        image = image * (1 - opacity) + appearance.hair * 0.8 * opacity
    return np.clip(image, 0, 255).astype(np.uint8)


def _beard(shape: Shape, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Density of the beard (540, 400), 0..1: cheeks, chin and moustache, none at the mouth."""
    growth = smoothstep(0.12, 0.45, y - 0.25 * (1 - np.minimum(1, np.abs(x) / 0.5)))
    mouth_y = shape.mouth_y(layout.RIGHT_CORNER) + 0.04
    growth = growth * (1 - np.exp(-((x / 0.30) ** 4)) * np.exp(-(((y - mouth_y) / 0.14) ** 4)))
    lip_y = shape.mouth_y(layout.UPPER_LIP_TOP) - 0.06
    growth = np.maximum(growth, 0.9 * np.exp(-((x / 0.26) ** 4)) * gauss(y, lip_y, 0.05))
    return growth * np.clip(0.75 + 0.35 * noise.field(rng, HEIGHT_PX, WIDTH_PX, 3), 0, 1)
