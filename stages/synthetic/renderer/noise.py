"""Smooth random fields."""

import cv2
import numpy as np

from stages.synthetic.renderer.layout import Array


def field(rng: np.random.Generator, height: int, width: int, cell: int, channels: int | None = None) -> Array:
    """Noise (height, width[, channels]) of about unit variance and features `cell` pixels wide."""
    coarse = (max(2, height // cell + 2), max(2, width // cell + 2), *([channels] if channels else []))
    values = rng.standard_normal(coarse, dtype=np.float32)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
