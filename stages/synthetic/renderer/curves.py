"""Smooth steps and curves through points."""

import numpy as np

from stages.synthetic.renderer.layout import Array

CATMULL_ROM = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])


def smoothstep(start: float, end: float, x: Array) -> Array:
    """0 up to `start`, 1 from `end` on, a cubic with flat ends in between."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def gauss(x: Array, centre: float, sigma: float) -> Array:
    """exp(-((x - centre) / sigma)^2), without the usual factor 1/2, as everywhere in this package."""
    return np.exp(-(((x - centre) / sigma) ** 2))


def spline_matrix(points: int, samples: int) -> Array:
    """Matrix M such that M @ p is a Catmull-Rom curve through all `points` rows of p.

    Returns:
        ((points - 1) * samples + 1, points); every `samples`-th row reproduces a point exactly.
    """
    ends = np.zeros((points + 2, points))
    ends[1:-1] = np.eye(points)
    ends[0, :2], ends[-1, -2:] = (2, -1), (-1, 2)
    powers = np.power.outer(np.arange(samples) / samples, np.arange(4))
    rows = [powers @ CATMULL_ROM @ ends[segment : segment + 4] for segment in range(points - 1)]
    return np.concatenate([*rows, ends[-2:-1]])


THROUGH_3 = spline_matrix(3, 6)
THROUGH_4 = spline_matrix(4, 5)
THROUGH_5 = spline_matrix(5, 4)
THROUGH_7 = spline_matrix(7, 4)
