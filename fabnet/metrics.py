"""Scores of predictions: arrays in, arrays out. Weights are how often a bootstrap sample holds each image."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EYE_POINTS = {5: (0, 1), 68: (36, 45)}  # number of points -> those whose distance is 100 %, 0-based
REGIONS = {
    5: {"eyes": slice(0, 2), "nose": slice(2, 3), "mouth": slice(3, 5)},
    68: {
        "jaw": slice(0, 17),
        "brows": slice(17, 27),
        "nose": slice(27, 36),
        "eyes": slice(36, 48),
        "mouth": slice(48, 68),
    },
}


def point_errors(truth: Array, prediction: Array, scale: tuple[int, int] | None = None) -> Array:
    """Distance of each point in per cent of the distance between two true points, the inter-ocular distance.

    Args:
        truth: (N, P, 2) in pixels of the source image; the stored crop is stretched and would distort distances.
        prediction: (N, P, 2), same pixels.
        scale: the two points whose true distance is 100 %; by default those of EYE_POINTS.

    Returns:
        (N, P), 0 or more.

    Raises:
        ValueError: the two true points of an image coincide.
    """
    first, second = scale or EYE_POINTS[truth.shape[1]]
    unit = np.linalg.norm(truth[:, first] - truth[:, second], axis=1)  # (N,)
    if not (unit > 0).all():
        raise ValueError("the two points that set the scale coincide in an image")
    return np.linalg.norm(prediction - truth, axis=2) / unit[:, None] * 100


def weighted_f1(is_positive: NDArray[np.bool_], is_predicted: NDArray[np.bool_], weights: Array) -> Array:
    """Harmonic mean of precision and recall under each row of weights (B, N) -> (B,); NaN without positives."""
    hits, positives, predicted = (
        weights @ mask.astype(np.float64) for mask in (is_positive & is_predicted, is_positive, is_predicted)
    )
    return np.divide(2 * hits, positives + predicted, out=np.full(len(weights), np.nan), where=positives > 0)


def best_threshold(is_positive: NDArray[np.bool_], score: Array) -> float:
    """The threshold on scores (N,) with the highest F1; a score above it counts as positive.

    Half-way between two neighbouring scores; of thresholds with equal F1 the lowest. NaN without positives.
    """
    if not is_positive.any():
        return float("nan")
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    hits_below = np.concatenate([[0], np.cumsum(is_positive[order])[:-1]])  # a threshold before each score
    hits = is_positive.sum() - hits_below
    f1 = 2 * hits / (is_positive.sum() + np.arange(len(score), 0, -1))
    below = np.concatenate([[ranked[0] - 1], ranked[:-1]])
    return float(((below + ranked) / 2)[np.argmax(np.where(below < ranked, f1, -1))])


def roc(is_positive: NDArray[np.bool_], score: Array, at: Array) -> Array:
    """Highest true positive rate of any threshold at false positive rates up to `at`, linear in between.

    Args:
        is_positive: (N,).
        score: (N,), higher means more likely positive.
        at: (K,) in [0, 1].

    Returns:
        (K,) in [0, 1]; NaN where positives or negatives are missing.
    """
    hits, alarms = _above_thresholds(is_positive, score)
    if not hits[-1] or not alarms[-1]:
        return np.full(len(at), np.nan)
    return np.interp(at, alarms / alarms[-1], hits / hits[-1])  # of points at the same rate it takes the last


def precision_recall(is_positive: NDArray[np.bool_], score: Array, at: Array) -> Array:
    """Precision (K,) at the highest threshold whose recall is at least `at` (K,); NaN without positives."""
    hits, alarms = _above_thresholds(is_positive, score)
    if not hits[-1]:
        return np.full(len(at), np.nan)
    first = np.maximum(np.searchsorted(hits / hits[-1], at), 1)  # no score is above the infinite threshold
    return hits[first] / (hits[first] + alarms[first])


def _above_thresholds(is_positive: NDArray[np.bool_], score: Array) -> tuple[Array, Array]:
    """Positives and negatives (T,) above each threshold: first an infinite one, then each score from high to low."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of runs of equal scores
    hits = np.cumsum(is_positive[order])[ends]
    return np.append(0.0, hits), np.append(0.0, ends + 1.0 - hits)


def weighted_mean(values: Array, weights: Array) -> Array:
    """Mean of `values` (N,) under each row of `weights` (B, N) -> (B,); NaN where all weights are 0."""
    total = weights.sum(axis=1)
    return np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)


def weighted_auc(is_positive: NDArray[np.bool_], score: Array, weights: Array) -> Array:
    """Area under the ROC curve under each row of weights; ties count half.

    Args:
        is_positive: (N,).
        score: (N,), higher means more likely positive.
        weights: (B, N), 0 or more.

    Returns:
        (B,) in [0, 1]; NaN where positives or negatives have no weight.
    """
    positive, negative = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
    negative = negative[np.argsort(score[negative], kind="stable")]
    below = np.zeros((len(weights), len(negative) + 1))  # weight of the negatives up to each rank
    np.cumsum(weights[:, negative], axis=1, out=below[:, 1:])
    lower, upper = (np.searchsorted(score[negative], score[positive], side) for side in ("left", "right"))
    wins = weights[:, positive]
    beaten = below[:, lower] if (lower == upper).all() else (below[:, lower] + below[:, upper]) / 2
    pairs = wins.sum(axis=1) * below[:, -1]
    return np.divide((wins * beaten).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
