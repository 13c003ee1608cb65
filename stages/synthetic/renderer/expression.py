"""Facial action units: those of the eight expressions, and how they move the 51 inner points.

Intensities run from 0 to 1, displacements are in head units. "R" and "L" are the subject's sides.
The displacements were set by eye from FACS descriptions: labels are exact for the renderer, but are not FACS levels.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from stages.synthetic.renderer import layout
from stages.synthetic.renderer.layout import Array

ActionUnits = dict[str, float]

ACTION_UNITS = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12L", "AU12R", "AU14L", "AU14R",
    "AU15", "AU17", "AU20", "AU23", "AU25", "AU26", "AU43",
)  # fmt: skip

# In the order of AffectNet's codes 0 to 7.
EMOTIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"AU6": 0.8, "AU12L": 0.9, "AU12R": 0.9, "AU25": 0.5},
    "sad": {"AU1": 0.8, "AU4": 0.5, "AU15": 0.8, "AU17": 0.5, "AU43": 0.15},
    "surprise": {"AU1": 0.9, "AU2": 0.9, "AU5": 0.8, "AU25": 0.7, "AU26": 0.8},
    "fear": {"AU1": 0.9, "AU2": 0.5, "AU4": 0.6, "AU5": 0.8, "AU7": 0.3, "AU20": 0.8, "AU25": 0.6, "AU26": 0.3},
    "disgust": {"AU9": 0.9, "AU10": 0.7, "AU4": 0.4, "AU15": 0.4, "AU17": 0.4, "AU7": 0.4},
    "anger": {"AU4": 1.0, "AU5": 0.5, "AU7": 0.6, "AU23": 0.8, "AU17": 0.4},
    "contempt": {"AU12R": 0.6, "AU14R": 0.9},
}

JAW_DROP = 0.30  # of the chin, at full AU26
SHUT_EYES = 0.05  # share of images with closed eyes
EXTRA_UNIT = 0.12  # probability of each action unit beyond those of the expression


def action_units(active: Mapping[str, float], strength: float = 1.0) -> ActionUnits:
    """All action units; those in `active` scaled by `strength`, the others 0."""
    return dict.fromkeys(ACTION_UNITS, 0.0) | {name: value * strength for name, value in active.items()}


def draw(rng: np.random.Generator, emotion: str, strength: tuple[float, float] = (0.5, 1.0)) -> ActionUnits:
    """Action units of one instance of `emotion`: random intensities, extra action units, sometimes closed eyes."""
    overall = rng.uniform(*strength)
    units = action_units({name: value * overall * rng.uniform(0.8, 1.1) for name, value in EMOTIONS[emotion].items()})
    for name in ACTION_UNITS:
        if rng.random() < EXTRA_UNIT:
            units[name] = max(units[name], rng.uniform(0, 0.5))
    if rng.random() < SHUT_EYES:
        units["AU43"] = 1.0
    return {name: float(np.clip(value, 0, 1)) for name, value in units.items()}


def smile(au: ActionUnits) -> float:
    """AU12, mean of both sides."""
    return 0.5 * (au["AU12L"] + au["AU12R"])


def jaw_drop(au: ActionUnits) -> float:
    """How far the chin moves down, in units."""
    return JAW_DROP * au["AU26"]


def deform(rest: Array, au: ActionUnits) -> Array:
    """The 51 inner points (51, 2) of the neutral face `rest`, moved by the action units."""
    points = rest.copy()
    _move_brow(points[layout.RIGHT_BROW], au, inwards=1)
    _move_brow(points[layout.LEFT_BROW][::-1], au, inwards=-1)
    for eye in (layout.RIGHT_EYE, layout.LEFT_EYE):
        _move_lids(points[eye], au)
    _move_nose(points, au)
    _move_mouth(points[layout.MOUTH], rest[layout.MOUTH], au)
    return points


INNER_BROW = np.array([0, 0.1, 0.35, 0.75, 1.0])  # weights from the outer to the inner end
OUTER_BROW = np.array([1.0, 0.95, 0.6, 0.2, 0])


def _move_brow(brow: Array, au: ActionUnits, inwards: int) -> None:
    """`brow`: a view of 5 points from outer to inner end; `inwards`: sign of x towards the nose."""
    raised = 0.13 * au["AU1"] * INNER_BROW + (0.13 * au["AU2"] - 0.02 * au["AU6"]) * OUTER_BROW
    lowered = au["AU4"] * (0.05 + 0.095 * INNER_BROW) + 0.05 * au["AU9"] * INNER_BROW
    brow[:, 1] += lowered - raised
    brow[:, 0] += inwards * (0.05 * au["AU4"] + 0.02 * au["AU9"]) * INNER_BROW


def _move_lids(eye: Array, au: ActionUnits) -> None:
    upper, lower = eye[layout.LID_UPPER, 1], eye[layout.LID_LOWER, 1]
    height = lower - upper
    narrowed = 0.12 * au["AU6"] + 0.28 * au["AU7"] + 0.22 * au["AU9"] + 0.10 * smile(au) + 0.05 * au["AU4"]
    raised = lower - height * (0.22 * au["AU6"] + 0.22 * au["AU7"] + 0.15 * au["AU9"])
    opened = np.minimum(lower - height * (1 + 0.45 * au["AU5"] - narrowed), raised - 0.02)
    shut = au["AU43"]
    eye[layout.LID_UPPER, 1] = opened * (1 - shut) + (raised - 0.006) * shut
    eye[layout.LID_LOWER, 1] = raised


def _move_nose(points: Array, au: ActionUnits) -> None:
    points[layout.NOSE_BASE, 1] -= 0.035 * au["AU9"] + 0.015 * au["AU10"]
    points[layout.NOSE_TIP, 1] -= 0.02 * au["AU9"]
    points[layout.RIGHT_WING, 0] -= 0.02 * au["AU9"] + 0.015 * au["AU12R"]
    points[layout.LEFT_WING, 0] += 0.02 * au["AU9"] + 0.015 * au["AU12L"]


def _mask(indices: Sequence[int]) -> Array:
    mask = np.zeros(20)
    mask[list(indices)] = 1
    return mask


LOWER_LIP = _mask([7, 8, 9, 10, 11, 17, 18, 19])
UPPER_LIP = _mask([1, 2, 3, 4, 5, 13, 14, 15])
INNER_LIP = _mask(range(12, 20))


def _move_mouth(mouth: Array, rest: Array, au: ActionUnits) -> None:
    """`mouth`: a view of the 20 mouth points, moved in place; `rest`: the same at rest."""
    side = np.sign(rest[:, 0])
    out = np.abs(rest[:, 0]) / abs(rest[layout.RIGHT_CORNER, 0])  # 0 in the middle, 1 at the outer corners
    _pull_corners(mouth, side, out, au)
    _raise_lips(mouth, out, au)
    mouth[:, 0] *= 1 - 0.07 * au["AU23"]
    _thin_lips(mouth, 1 - 0.40 * au["AU23"] - 0.18 * smile(au) - 0.15 * au["AU20"])
    _open_mouth(mouth, out, au)


def _pull_corners(mouth: Array, side: Array, out: Array, au: ActionUnits) -> None:
    for name, sign in (("R", -1), ("L", 1)):
        pull = np.where(side == sign, out, 0)
        lip_puller, dimpler = au[f"AU12{name}"], au[f"AU14{name}"]
        mouth[:, 0] += sign * pull * (0.11 * lip_puller + 0.05 * dimpler)
        mouth[:, 1] -= pull**1.6 * 0.12 * lip_puller + pull**2 * 0.025 * dimpler
    mouth[:, 0] += side * out * (0.10 * au["AU20"] - 0.02 * au["AU15"])
    mouth[:, 1] += out**2 * 0.03 * au["AU20"] + out**2.5 * 0.085 * au["AU15"]
    mouth[:, 1] -= (1 - out) * 0.015 * (smile(au) + au["AU15"])


def _raise_lips(mouth: Array, out: Array, au: ActionUnits) -> None:
    """Chin raiser and upper lip raisers; the inner lip moves less unless the lips are parted."""
    by_chin = LOWER_LIP * 0.045 + UPPER_LIP * np.where(INNER_LIP, 0.042, 0.03)
    mouth[:, 1] -= by_chin * (1 - out) * au["AU17"]
    follow = np.where(INNER_LIP, 0.25 + 0.75 * min(1, 2 * au["AU25"]), 1.0)
    mouth[:, 1] -= UPPER_LIP * follow * ((1 - 0.5 * out) * 0.055 * au["AU10"] + (1 - out) * 0.02 * au["AU9"])


def _thin_lips(mouth: Array, thickness: float) -> None:
    """Move the outer contours towards the seam; `thickness` 1 leaves them unchanged."""
    for outer, inner in ((layout.OUTER_UPPER, layout.INNER_UPPER), (layout.OUTER_LOWER, layout.INNER_LOWER)):
        between = outer[1:-1]
        seam = np.interp(mouth[between, 0], mouth[inner, 0], mouth[inner, 1])
        mouth[between, 1] = seam + (mouth[between, 1] - seam) * thickness


def _open_mouth(mouth: Array, out: Array, au: ActionUnits) -> None:
    drop = jaw_drop(au)
    profile = np.sqrt(np.maximum(1 - out**2, 0))
    mouth[:, 1] += LOWER_LIP * profile * 0.85 * (0.07 * au["AU25"] + 0.85 * drop)
    mouth[:, 1] -= UPPER_LIP * profile * 0.035 * au["AU25"]
    corners = [layout.RIGHT_CORNER, layout.LEFT_CORNER, layout.INNER_UPPER[0], layout.INNER_UPPER[-1]]
    mouth[corners, 1] += 0.35 * drop
    mouth[:, 0] *= 1 - 0.10 * au["AU26"] * (1 - 0.5 * min(1, smile(au) + au["AU20"]))
