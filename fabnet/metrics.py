"""Scores of predictions: arrays in, arrays out. Weights count how often a bootstrap sample holds each image."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

OUTER_EYE_CORNERS = (36, 45)  # of the 68 points, 0-based
REGIONS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}


def point_errors(truth: Array, prediction: Array, scale: tuple[int, int] = OUTER_EYE_CORNERS) -> Array:
    """Distance of each point in per cent of the distance between two true points, the inter-ocular distance.

    Args:
        truth: (N, P, 2) in pixels of the source image; the stored crop is stretched and would distort distances.
        prediction: (N, P, 2), same pixels.
        scale: the two points whose true distance is 100 %.

    Returns:
        (N, P), 0 or more.

    Raises:
        ValueError: the two true points of an image coincide.
    """
    first, second = scale
    unit = np.linalg.norm(truth[:, first] - truth[:, second], axis=1)  # (N,)
    if not (unit > 0).all():
        raise ValueError("the two points that set the scale coincide in an image")
    return np.linalg.norm(prediction - truth, axis=2) / unit[:, None] * 100


def weighted_mean(values: Array, weights: Array) -> Array:
    """Mean of `values` (N,) under each row of `weights` (B, N) -> (B,)."""
    return weights @ values / weights.sum(axis=1)


def weighted_auc(is_positive: NDArray[np.bool_], score: Array, weights: Array) -> Array:
    """Area under the ROC curve under each row of weights; ties count half.

    Args:
        is_positive: (N,).
        score: (N,), higher means rather positive.
        weights: (B, N), 0 or more.

    Returns:
        (B,) in [0, 1]; NaN where positives or negatives have no weight.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # first of each run of equal scores
    ranked, positive = weights[:, order], is_positive[order]
    wins = np.add.reduceat(ranked * positive, starts, axis=1)  # (B, R) weight of positives in each run
    losses = np.add.reduceat(ranked * ~positive, starts, axis=1)
    below = np.cumsum(losses, axis=1) - losses / 2  # negatives that each run beats
    pairs = wins.sum(axis=1) * losses.sum(axis=1)
    return np.divide((wins * below).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
