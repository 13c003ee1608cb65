"""The head as a mesh of columns (angle around the vertical axis) and rows (height), coarse and fine.

Angles run from -118 to 118 degrees, 0 faces forward; rows from the top of the skull to the chin, dense at both
ends (equal steps give a V-shaped chin). Geometry is computed on the coarse mesh and interpolated to the fine mesh.
"""

import math

import cv2
import numpy as np

from stages.synthetic.renderer.curves import gauss, smoothstep
from stages.synthetic.renderer.expression import ActionUnits, jaw_drop
from stages.synthetic.renderer.head import Shape, dome, outline, relief
from stages.synthetic.renderer.layout import Array

COARSE = (96, 136)  # columns, rows
FINE = (520, 560)  # dense enough up to 95 pixels per unit; above that, holes appear on the far cheek


def angles(columns: int) -> Array:
    """Angles of `columns` columns, radians; denser in front."""
    u = np.linspace(-1, 1, columns)
    return math.radians(118) * (0.78 * u + 0.22 * u**3)


def _rows() -> Array:
    u = np.linspace(0, 1, COARSE[1])
    return 0.85 * (0.5 - 0.5 * np.cos(np.pi * u)) + 0.15 * u


COARSE_ANGLES, FINE_ANGLES = angles(COARSE[0]), angles(FINE[0])
COARSE_ROWS = _rows()  # 0 top of the skull to 1 chin
FINE_ROWS = np.interp(np.linspace(0, 1, FINE[1]), np.linspace(0, 1, COARSE[1]), COARSE_ROWS)
SIN, COS = np.sin(COARSE_ANGLES)[:, None], np.cos(COARSE_ANGLES)[:, None]
IS_BACK = COS < 0
ARCH = dome(np.abs(SIN))


def heights(shape: Shape, rows: Array, drop: float = 0.0) -> Array:
    """Heights y of `rows` (0..1), in units; the jaw stretches the mesh by `drop`."""
    return shape.top_y + (shape.chin_y + drop - shape.top_y) * rows


def positions(shape: Shape, au: ActionUnits, hair_lift: Array) -> Array:
    """Points (96, 136, 3) of the coarse mesh in the head frame, with hair."""
    drop = jaw_drop(au)
    y = heights(shape, COARSE_ROWS, drop)[None]
    width, side_z, height = outline(shape, y, drop)
    x = width * SIN
    round_back = np.sqrt(np.maximum(1 - np.clip((y - shape.widest_y) / (shape.widest_y - shape.top_y), -1, 1) ** 2, 0))
    back = side_z + 0.855 * round_back * COS
    front = side_z + height * ARCH + relief(shape, x, y, au) * np.minimum(1, 2 * ARCH)
    upwards = 0.35 * np.maximum(-0.6 - y, 0) / 0.8
    return np.stack(
        [
            x + SIN * hair_lift,
            y - upwards * hair_lift,
            np.where(IS_BACK, back, front) + COS * hair_lift,
        ],
        axis=-1,
    )


def texture_coordinates(shape: Shape, drop: float) -> tuple[Array, Array]:
    """Texture coordinates x and y, each (96, 136), of the coarse mesh without hair; units."""
    y = heights(shape, COARSE_ROWS, drop)[None]
    x = outline(shape, y, drop)[0] * SIN
    return x, np.broadcast_to(y, x.shape)


def refine(values: Array) -> Array:
    """Values (96, 136) of the coarse mesh, interpolated to the fine mesh (520, 560), float32."""
    return np.asarray(cv2.resize(values.astype(np.float32), FINE[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def occlusion(shape: Shape, points: Array, x: Array, y: Array, drop: float) -> Array:
    """Share of ambient light that reaches the coarse mesh, 0.25..1: less in eye sockets, below nose and lip."""
    aside = np.abs(x)
    eye_x, eye_y = shape.eye
    base_y, lip_y = points[16, 1], points[40, 1]
    dark = (
        0.22 * gauss(aside, eye_x, 0.20) * gauss(y, eye_y - 0.05, 0.09)
        + 0.16 * gauss(aside, 0.14, 0.07) * gauss(y, eye_y + 0.02, 0.13)
        + 0.20 * gauss(aside, 0, 0.16) * gauss(y, base_y + 0.05, 0.05)
        + 0.20 * gauss(aside, 0, 0.20) * gauss(y, lip_y + 0.06, 0.04)
        + 0.10 * gauss(aside, 0.33, 0.08) * gauss(y, 0.30, 0.14)
        + 0.14 * gauss(aside, 0.17 * shape.nose_width, 0.05) * gauss(y, base_y - 0.03, 0.07)
    )
    below = (y - shape.widest_y) / (shape.chin_y + drop - shape.widest_y)
    under_the_jaw = 0.33 * smoothstep(0.72, 1.02, below) * smoothstep(0.6, 1.0, np.abs(SIN))
    return np.clip(1 - dark - under_the_jaw, 0.25, 1)
