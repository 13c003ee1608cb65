"""Metrics by name, with bootstrap intervals over test images, for one method and seed or pooled over seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabnet import metrics
from stages.errors import UserError

Array = NDArray[np.float64]

MEAN = "mean"  # the target that stands for the whole task
CELLS_PER_BLOCK = 2**22  # weights held at a time while resampling, 32 MiB

# Weights (B, N), how often a resample holds each image -> the statistic under each row, (B,).
Statistic = Callable[[Array], Array]


@dataclass(frozen=True)
class Predictions:
    """What one probe says of N test images."""

    truth: Array  # (N, K)
    prediction: Array  # (N, K)
    classes: tuple[str, ...]  # names of the K columns; empty where columns are coordinates

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Predictions":
        return Predictions(self.truth[chosen], self.prediction[chosen], self.classes)


@dataclass(frozen=True)
class Bootstrap:
    resamples: int
    confidence: float  # share of the resamples inside the interval
    seed: int  # the same images in the same resamples for every method


@dataclass(frozen=True)
class Score:
    target: str
    metric: str
    value: float  # NaN: undefined on these images
    ci_low: float
    ci_high: float
    n: int  # images


def auc(images: Predictions) -> dict[str, Statistic]:
    """Area under the ROC curve of every class against the rest, and its mean over the classes that occur."""
    parts: dict[str, Statistic] = {}
    for k, name in enumerate(images.classes):
        positive, score = images.truth[:, k] > 0.5, images.prediction[:, k]
        parts[name] = _bound(positive, score)
    present = [parts[name] for name in images.classes if np.isfinite(parts[name](_once(images)))[0]]
    if present:
        parts[MEAN] = _average(present)
    return parts


def accuracy(images: Predictions) -> dict[str, Statistic]:
    """Share of images whose highest score is that of the true class."""
    is_right = (images.truth.argmax(1) == images.prediction.argmax(1)).astype(np.float64)
    return {MEAN: lambda weights: metrics.weighted_mean(is_right, weights)}


def interocular_percent(images: Predictions) -> dict[str, Statistic]:
    """Mean distance of 68 points in per cent of that of the outer eye corners: all points, and by region.

    Raises:
        UserError: not 68 points.
    """
    count, columns = images.truth.shape
    if columns != 2 * 68:
        raise UserError(f"metric interocular_percent needs 68 points (136 coordinates), found {columns} coordinates")
    errors = metrics.point_errors(images.truth.reshape(count, 68, 2), images.prediction.reshape(count, 68, 2))
    columns_of = {MEAN: slice(None), **metrics.REGIONS}
    return {target: _mean_of(errors[:, chosen].mean(axis=1)) for target, chosen in columns_of.items()}


@dataclass(frozen=True)
class Metric:
    """How a metric is computed, and how a reader should take it."""

    of: Callable[[Predictions], dict[str, Statistic]]
    label: str
    higher_is_better: bool
    decimals: int  # printed
    chance: float | None  # what guessing reaches, where that does not depend on the data


METRICS = {
    "auc": Metric(auc, "AUC", True, 3, 0.5),
    "accuracy": Metric(accuracy, "accuracy", True, 3, None),
    "interocular_percent": Metric(interocular_percent, "error, % of inter-ocular distance", False, 2, None),
}


def score(metric: str, runs: Sequence[Predictions], bootstrap: Bootstrap) -> Iterator[Score]:
    """The metric's value on each of its targets, averaged over `runs`, with its percentile interval.

    Args:
        metric: a key of METRICS.
        runs: predictions for the same images in the same order, one element per seed.
        bootstrap: images are resampled with replacement; seeds are not, so that the interval of a pooled score
            says how far it depends on the test images.

    Resamples in which a statistic is undefined (a class without images) are left out of its interval.
    """
    pooled = _pooled(metric, runs)
    once, n = _once(runs[0]), len(runs[0].truth)
    drawn: dict[str, list[Array]] = {target: [] for target in pooled}
    for weights in _resamples(n, bootstrap):
        for target, statistic in pooled.items():
            drawn[target].append(statistic(weights))
    for target, statistic in pooled.items():
        low, high = interval(np.concatenate(drawn[target]), bootstrap.confidence)
        yield Score(target, metric, float(statistic(once)[0]), low, high, n)


def compare(
    metric: str, runs: Sequence[Predictions], controls: Sequence[Predictions], bootstrap: Bootstrap
) -> Score | None:
    """The task's value minus that of a control on the same images, with the interval of this difference.

    Every resample is scored for both, so what makes an image hard for both cancels. None where it is undefined.
    """
    ours, theirs = (_pooled(metric, some).get(MEAN) for some in (runs, controls))
    if ours is None or theirs is None:
        return None
    drawn = [ours(weights) - theirs(weights) for weights in _resamples(len(runs[0].truth), bootstrap)]
    low, high = interval(np.concatenate(drawn), bootstrap.confidence)
    once = _once(runs[0])
    return Score(MEAN, metric, float((ours(once) - theirs(once))[0]), low, high, len(runs[0].truth))


def parts(subset: NDArray[np.str_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Names of the parts that are scored and which of the N test images belong to each.

    All of them are `test`; where the owner names several subsets, each is `test/<subset>` as well.
    """
    yield "test", np.ones(len(subset), np.bool_)
    names = sorted(set(subset.tolist()) - {""})
    for name in names if len(names) > 1 else []:
        yield f"test/{name}", subset == name


def interval(drawn: Array, confidence: float) -> tuple[float, float]:
    """The percentiles between which the share `confidence` of the finite values lies; NaN if there are none."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resamples(n: int, bootstrap: Bootstrap) -> Iterator[Array]:
    """(B, n) counts, in blocks of bounded memory; every row sums to n."""
    rng = np.random.default_rng(bootstrap.seed)
    rows = max(1, CELLS_PER_BLOCK // n)
    for start in range(0, bootstrap.resamples, rows):
        size = min(rows, bootstrap.resamples - start)
        yield rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)


def _pooled(metric: str, runs: Sequence[Predictions]) -> dict[str, Statistic]:
    """The metric's statistics, each averaged over `runs`."""
    of_runs = [METRICS[metric].of(run) for run in runs]
    return {target: _average([of_run[target] for of_run in of_runs]) for target in of_runs[0]}


def _average(statistics: Sequence[Statistic]) -> Statistic:
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def _once(images: Predictions) -> Array:
    return np.ones((1, len(images.truth)))


def _bound(positive: NDArray[np.bool_], score: Array) -> Statistic:
    return lambda weights: metrics.weighted_auc(positive, score, weights)


def _mean_of(values: Array) -> Statistic:
    return lambda weights: metrics.weighted_mean(values, weights)
