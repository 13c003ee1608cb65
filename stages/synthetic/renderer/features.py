"""Brows, eyes, mouth, nostrils and glasses, painted on the texture.

All curves pass exactly through the deformed points, so they agree with the landmarks.
"""

import cv2
import numpy as np

from stages.synthetic.renderer import layout
from stages.synthetic.renderer.appearance import Appearance
from stages.synthetic.renderer.canvas import Canvas, colour
from stages.synthetic.renderer.curves import THROUGH_4, THROUGH_5, THROUGH_7
from stages.synthetic.renderer.expression import ActionUnits
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array

IRIS_RADIUS = 0.082
GAZE_REACH = np.array([0.06, 0.03])  # (x, y) shift of the iris at gaze 1, in units
TONGUE_SHOWS = 0.09  # mouth opening above which the tongue is visible, in units
PARTED = 0.012  # mouth opening above which its inside is visible
EYE_WHITE, PUPIL, GLINT, LID_SHADOW = (222, 226, 232), (12.0, 10.0, 10.0), (250.0, 250.0, 250.0), (70.0, 70.0, 80.0)
MOUTH_INSIDE, TEETH, TONGUE = (22.0, 16.0, 42.0), (205.0, 218.0, 224.0), (70.0, 60.0, 130.0)
FRAME = (30.0, 30.0, 35.0)


def paint_nostrils(on: Canvas, points: Array, appearance: Appearance) -> None:
    for side, index in ((-1, 15), (1, 17)):
        centre = np.add(points[index], (0.012 * side, -0.012))
        on.ellipse(centre, (0.036, 0.020), -20 * side, colour(appearance.skin, 0.28))


def paint_brows(on: Canvas, points: Array, appearance: Appearance) -> None:
    for brow in (points[layout.RIGHT_BROW], points[layout.LEFT_BROW][::-1]):
        ridge = THROUGH_5 @ brow  # outer to inner
        along = np.linspace(0, 1, len(ridge))
        body = np.sin(np.pi * (0.12 + 0.78 * along)) ** 0.8
        half = np.outer(appearance.brow_thickness * (0.35 + 0.75 * body), (0, 1))
        hair = np.concatenate([ridge - 0.55 * half, (ridge + 0.6 * half)[::-1]])
        patch = on.around(hair, 0.04)
        mask = patch.blank(0.0)
        mask.fill(hair, 230.0)
        patch.blend(appearance.brow, cv2.GaussianBlur(mask.image, (0, 0), 1.6))


def paint_eyes(on: Canvas, person: Identity, points: Array, au: ActionUnits, gaze: tuple[float, float]) -> None:
    """Eyes with lids and iris; `gaze`: to the image's right and down, -1..1. The glint is on the key light's side."""
    rest, appearance, glint_x = person.shape.points, person.appearance, float(person.light.key[0])
    for eye, outer, side in ((layout.RIGHT_EYE, 0, -1), (layout.LEFT_EYE, 3, 1)):
        lids = points[eye]
        upper, lower = THROUGH_4 @ lids[[0, 1, 2, 3]], THROUGH_4 @ lids[[0, 5, 4, 3]]
        opening = np.concatenate([upper, lower[::-1]])
        patch = on.around(opening, 0.06)
        ball = _eyeball(patch, rest[eye].mean(axis=0) + gaze * GAZE_REACH, upper, appearance, glint_x)
        mask = patch.blank(0.0)
        mask.fill(opening, 255.0)
        patch.blend(ball.image, mask.image)
        on.line(upper, colour(appearance.skin, 0.20), 3)
        on.line(lower, colour(appearance.skin, 0.50), 1)
        lift = np.array([0.012, 0.05, 0.05, 0.012]) + 0.02 * au["AU5"] - 0.012 * au["AU43"]
        on.line(THROUGH_4 @ (rest[eye][:4] - np.outer(lift, (0, 1))), colour(appearance.skin, 0.55), 2)
        on.line(lids[outer] + np.array([(0, 0), (0.022 * side, -0.012)]), colour(appearance.skin, 0.3), 2)


def _eyeball(patch: Canvas, iris: Array, upper_lid: Array, appearance: Appearance, glint_x: float) -> Canvas:
    ball = patch.blank(colour(np.array(EYE_WHITE), 0.8 + 0.2 * (1 - appearance.tone)))
    ball.disc(iris, IRIS_RADIUS, colour(appearance.iris, 0.55))
    ball.disc(iris, 0.86 * IRIS_RADIUS, colour(appearance.iris))
    ball.disc(iris, 0.45 * IRIS_RADIUS, PUPIL)
    ball.line(np.add(upper_lid, (0, 0.012)), LID_SHADOW, 4)
    ball.disc(np.add(iris, (np.sign(glint_x) * 0.028, -0.03)), 0.016, GLINT)
    return ball


def paint_mouth(on: Canvas, person: Identity, points: Array, au: ActionUnits) -> None:
    appearance = person.appearance
    mouth = points[layout.MOUTH]
    outer_upper, outer_lower = THROUGH_7 @ mouth[layout.OUTER_UPPER], THROUGH_7 @ mouth[layout.OUTER_LOWER]
    inner_upper, inner_lower = THROUGH_5 @ mouth[layout.INNER_UPPER], THROUGH_5 @ mouth[layout.INNER_LOWER]
    on.fill(np.concatenate([outer_upper, inner_upper[::-1]]), colour(appearance.lip, 0.86))
    on.fill(np.concatenate([inner_lower, outer_lower[::-1]]), colour(appearance.lip))
    if (inner_lower - inner_upper)[:, 1].max() <= PARTED:
        on.line(0.5 * (inner_upper + inner_lower), colour(appearance.lip, 0.38), 3)
        return
    opening = np.concatenate([inner_upper, inner_lower[::-1]])
    patch = on.around(opening, 0.02)
    teeth_y = person.shape.mouth_y(14) - 0.035 * au["AU25"]
    inside = _mouth_inside(patch, inner_upper, inner_lower, teeth_y)
    mask = patch.blank(0.0)
    mask.fill(opening, 255.0)
    patch.blend(inside.image, mask.image)


def _mouth_inside(patch: Canvas, upper: Array, lower: Array, teeth_y: float) -> Canvas:
    """A dark cavity with the upper teeth, which the jaw does not move, and the tongue if the mouth is wide open."""
    inside = patch.blank(MOUTH_INSIDE)
    middle_x, half = 0.5 * (upper[-1, 0] + upper[0, 0]), 0.5 * (upper[-1, 0] - upper[0, 0])
    edge = np.array(
        [(-0.85, -0.05), (0.85, -0.05), (0.8, 0.035), (0.4, 0.062), (0, 0.066), (-0.4, 0.062), (-0.8, 0.035)]
    )
    inside.fill(edge * (half, 1) + (middle_x, teeth_y), TEETH)
    if (lower - upper)[:, 1].max() > TONGUE_SHOWS:
        inside.ellipse(np.array([middle_x, lower[:, 1].max() + 0.01]), (0.6 * half, 0.07), 0, TONGUE)
    return inside


def paint_glasses(on: Canvas, rest: Array) -> None:
    """Rims and bridge, painted flat on the skin: they turn with the face but have no depth."""
    for eye in (layout.RIGHT_EYE, layout.LEFT_EYE):
        on.ellipse(np.add(rest[eye].mean(axis=0), (0, 0.03)), (0.2, 0.15), 0, FRAME, 3)
    on.line(np.array([(-0.14, -0.3), (0.14, -0.3)]), FRAME, 3)
    for side in (-1, 1):
        on.line(np.array([(0.53 * side, -0.3), (0.85 * side, -0.33)]), FRAME, 3)
