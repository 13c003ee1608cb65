"""Hair on the mesh: its opacity, its colour and its thickness."""

from dataclasses import dataclass

import cv2
import numpy as np

from stages.synthetic.renderer import layout, noise
from stages.synthetic.renderer.appearance import Appearance
from stages.synthetic.renderer.canvas import Image
from stages.synthetic.renderer.curves import smoothstep
from stages.synthetic.renderer.head import Shape, outline
from stages.synthetic.renderer.layout import Array
from stages.synthetic.renderer.mesh import COARSE, COARSE_ANGLES, COARSE_ROWS, FINE, FINE_ANGLES, FINE_ROWS, heights

SIDE_ENDS_Y = {"short": -0.05, "long": 1.5, "receding": -0.1, "fringe": 0.2}
BALD = 0.5  # share of people with receding hair who have none
SIDE_FROM_RAD = 1.12  # hair at the sides starts here


@dataclass(frozen=True)
class Hair:
    opacity: Array  # (520, 560) float32, 0..1
    colour: Image  # (520, 560, 3) BGR
    lift: Array  # (96, 136) thickness, units


def draw(shape: Shape, appearance: Appearance, rng: np.random.Generator) -> Hair:
    coarse = rng.standard_normal((FINE[0], 6), dtype=np.float32)
    strands = np.asarray(cv2.resize(coarse, FINE[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    mask = (heights(shape, FINE_ROWS)[None] < _lower_edge(appearance, strands)).astype(np.float32)
    if appearance.hair_style == "receding" and rng.random() < BALD:
        mask[:] = 0
    edge = cv2.GaussianBlur(mask, (0, 0), 2.2)
    frayed = 0.25 * noise.field(rng, *FINE, 3) * ((edge > 0.02) & (edge < 0.98))
    shade = 1 + 0.22 * strands + 0.10 * noise.field(rng, *FINE, 2)
    return Hair(
        opacity=np.clip((edge - 0.5) * 1.6 + 0.5 + frayed, 0, 1).astype(np.float32),
        colour=np.clip(appearance.hair.astype(np.float32) * shade[..., None], 0, 255).astype(np.uint8),
        lift=_lift(shape, appearance.hair_lift, mask),
    )


def _lower_edge(appearance: Appearance, strands: Array) -> Array:
    """Height y of the lower edge of the hair for every column of the fine mesh, jagged by `strands`."""
    turn = np.abs(FINE_ANGLES)[:, None]
    jagged = 0.025 * strands
    edge = appearance.hairline_y + jagged - 0.03 * np.maximum(0, 1 - turn / 0.35)
    if appearance.hair_style == "fringe":
        edge = -0.66 + 1.5 * jagged + 0.05 * np.cos(4 * turn)
    if appearance.hair_style == "receding":
        edge = edge - 0.22 - 0.25 * np.maximum(0, 1 - turn / 0.8)
    side = smoothstep(0, 0.28, turn - SIDE_FROM_RAD - 0.03 * strands + 0.28)
    return edge + (SIDE_ENDS_Y[appearance.hair_style] - edge) * side


def _lift(shape: Shape, thickness: float, mask: Array) -> Array:
    """Thickness of the hair on the coarse mesh; 0 where brows are painted, so that landmarks stay exact."""
    coarse = cv2.resize(mask, COARSE[::-1], interpolation=cv2.INTER_AREA)
    lift = cv2.GaussianBlur(coarse, (0, 0), 1.2).astype(np.float64) * thickness
    y = heights(shape, COARSE_ROWS)
    x = np.abs(outline(shape, y, 0.0)[0] * np.sin(COARSE_ANGLES)[:, None])
    brow_end = np.abs(shape.points[[0, 9], 0]).max()
    brow_top = shape.points[: layout.LEFT_BROW.stop, 1].min()
    beside = smoothstep(brow_end + 0.02, brow_end + 0.10, x)
    above = 1 - smoothstep(brow_top - 0.48, brow_top - 0.10, y)  # slowly: a step would show as a ledge in the fringe
    return lift * np.where(np.cos(COARSE_ANGLES)[:, None] > 0, np.maximum(beside, above), 1.0)
