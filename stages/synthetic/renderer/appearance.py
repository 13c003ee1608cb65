"""A random appearance: the head's shape, its colours and accessories, and the light on it."""

import math
from dataclasses import dataclass

import numpy as np

from stages.synthetic.renderer import layout
from stages.synthetic.renderer.head import Shape
from stages.synthetic.renderer.layout import Array

HAIR_STYLES = ("short", "long", "receding", "fringe")
GLASSES = 0.12  # share of people
NO_BEARD = 0.6  # share of people

LIGHT_SKIN, MEDIUM_SKIN, DARK_SKIN = (205, 220, 246), (160, 190, 230), (62, 84, 128)  # all colours are BGR, 0..255
HAIR_COLOURS = ((25, 25, 30), (30, 45, 70), (45, 75, 115), (95, 150, 195), (40, 70, 140), (150, 150, 155))
HAIR_OF_LIGHT_SKIN = (0.3, 0.3, 0.15, 0.1, 0.07, 0.08)  # weight of each hair colour
HAIR_OF_DARK_SKIN = (0.75, 0.2, 0.0, 0.0, 0.0, 0.05)
IRISES = ((45, 65, 95), (30, 45, 70), (130, 110, 70), (90, 120, 90), (25, 30, 40))


@dataclass(frozen=True)
class Light:
    """Key and fill light, fixed relative to the camera, and ambient light."""

    key: Array  # (3,) unit vector towards the key light
    fill: Array  # (3,) unit vector towards the fill light
    key_strength: float
    fill_strength: float
    ambient: float
    gloss: float
    tint: Array  # (3,) BGR factors


@dataclass(frozen=True)
class Appearance:
    """Colours (3,) BGR 0..255, hair, beard and accessories."""

    tone: float  # of the skin, 0 light to 1 dark
    skin: Array
    hair: Array
    brow: Array
    lip: Array
    iris: Array
    cloth: Array
    beard: float  # opacity, 0..1
    brow_thickness: float
    hair_style: str
    hairline_y: float
    hair_lift: float  # thickness of the hair, in units
    glasses: bool
    open_collar: bool


def bounded(rng: np.random.Generator, sigma: float) -> float:
    """A normal random number of standard deviation `sigma`, clipped at two sigma."""
    return float(np.clip(rng.normal(), -2, 2) * sigma)


def draw_shape(rng: np.random.Generator) -> Shape:
    points, eye_gap, eye_y = _eyes(layout.NEUTRAL.copy(), rng)
    points = _brows(points, eye_gap, eye_y, rng)
    nose_width = 1 + bounded(rng, 0.10)
    points[layout.NOSE_ROOT : layout.NOSE_BASE.stop, 1] += bounded(rng, 0.03) * np.array([0, 0.33, 0.66, *[1] * 6])
    points[layout.NOSE_BASE, 0] *= nose_width
    return Shape(
        points=_mouth(points, rng),
        half_width=0.78 * (1 + bounded(rng, 0.035)),
        top_y=-1.38 + bounded(rng, 0.05),
        widest_y=-0.32 + bounded(rng, 0.06),
        chin_y=0.93 + bounded(rng, 0.05),
        jaw_powers=(rng.uniform(1.9, 2.7), rng.uniform(1.9, 2.4)),
        depth=0.97 + bounded(rng, 0.03),
        chin_forward=0.48 + bounded(rng, 0.05),
        nose_height=rng.uniform(0.24, 0.36),
        nose_width=nose_width,
        bridge_width=rng.uniform(0.075, 0.105),
    )


def _eyes(points: Array, rng: np.random.Generator) -> tuple[Array, float, float]:
    """`points` with random eyes, the factor on the distance between the eyes and their shift in y."""
    gap, width, height = 1 + bounded(rng, 0.035), 1 + bounded(rng, 0.05), 1 + bounded(rng, 0.14)
    slant, shift = 2 * bounded(rng, 0.02), bounded(rng, 0.02)
    for eye, side in ((layout.RIGHT_EYE, -1), (layout.LEFT_EYE, 1)):
        centre = points[eye].mean(axis=0)
        around = (points[eye] - centre) * (width, height)
        around[:, 1] -= side * around[:, 0] * slant
        points[eye] = centre * (gap, 1) + around + (0, shift)
    return points, gap, shift


def _brows(points: Array, eye_gap: float, eye_y: float, rng: np.random.Generator) -> Array:
    width, tilt, shift, arch = 1 + bounded(rng, 0.04), bounded(rng, 0.03), bounded(rng, 0.02), 1 + bounded(rng, 0.25)
    for brow in (layout.RIGHT_BROW, layout.LEFT_BROW):
        centre = points[brow].mean(axis=0)
        around = (points[brow] - centre) * (width, arch)
        around[:, 1] += (np.abs(points[brow, 0]) - 0.33) * tilt
        points[brow] = centre * (eye_gap, 1) + around + (0, shift + eye_y)
    return points


def _mouth(points: Array, rng: np.random.Generator) -> Array:
    """`points` with a random mouth, closed: the inner contours meet in a seam."""
    mouth = points[layout.MOUTH]
    corner_y = mouth[layout.RIGHT_CORNER, 1]
    shift = bounded(rng, 0.02) - 0.015
    mouth[:] = (mouth - (0, corner_y)) * (1 + bounded(rng, 0.06), rng.uniform(0.75, 1.35)) + (0, corner_y + shift)
    upper, lower = layout.INNER_UPPER[1:-1], layout.INNER_LOWER[1:-1]
    seam_y = 0.5 * (mouth[upper, 1] + mouth[lower, 1]) - 0.012
    mouth[upper, 1], mouth[lower, 1] = seam_y, seam_y + 0.004
    return points


def draw_appearance(rng: np.random.Generator) -> Appearance:
    tone = rng.uniform(0, 1)
    skin = np.array([np.interp(tone, (0, 0.5, 1), c) for c in zip(LIGHT_SKIN, MEDIUM_SKIN, DARK_SKIN, strict=True)])
    skin += rng.normal(0, 5, 3)
    shares = np.array(HAIR_OF_LIGHT_SKIN if tone < 0.6 else HAIR_OF_DARK_SKIN)
    hair = np.array(HAIR_COLOURS[rng.choice(len(shares), p=shares / shares.sum())]) * rng.uniform(0.8, 1.2)
    return Appearance(
        tone=tone,
        skin=skin,
        hair=hair,
        brow=np.minimum(hair * 0.75, skin * 0.55),
        lip=skin * ((0.62, 0.58, 0.86) if rng.random() < 0.7 else (0.55, 0.45, 0.9)),
        iris=np.array(IRISES[rng.integers(len(IRISES))], float),
        cloth=rng.uniform(20, 220, 3),
        beard=0.0 if rng.random() < NO_BEARD else rng.uniform(0.1, 0.55),
        brow_thickness=rng.uniform(0.028, 0.06),
        hair_style=HAIR_STYLES[rng.integers(len(HAIR_STYLES))],
        hairline_y=rng.uniform(-1.02, -0.86),
        hair_lift=rng.uniform(0.04, 0.12),
        glasses=bool(rng.random() < GLASSES),
        open_collar=bool(rng.random() < 1 / 3),
    )


def draw_light(rng: np.random.Generator) -> Light:
    azimuth, elevation = math.radians(rng.uniform(-55, 55)), math.radians(rng.uniform(10, 55))
    return Light(
        key=_direction(azimuth, elevation),
        fill=_direction(-azimuth * rng.uniform(0.5, 1.2), rng.uniform(-0.1, 0.5)),
        key_strength=rng.uniform(0.45, 0.7),
        fill_strength=rng.uniform(0.1, 0.3),
        ambient=rng.uniform(0.28, 0.42),
        gloss=rng.uniform(0.03, 0.14),
        tint=1 + rng.normal(0, 0.04, 3),
    )


def _direction(azimuth_rad: float, elevation_rad: float) -> Array:
    """Unit vector (3,) in the head frame; azimuth 0 and elevation 0 point to the camera."""
    flat = math.cos(elevation_rad)
    return np.array([math.sin(azimuth_rad) * flat, -math.sin(elevation_rad), math.cos(azimuth_rad) * flat])
