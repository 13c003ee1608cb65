"""Metrics by name, with bootstrap intervals over test images, for one method and seed or pooled over seeds.

Images of one group are resampled together, see `resampling`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabnet import metrics
from stages.evaluation.resampling import Array, Bootstrap, Groups, interval, resamples
from stages.runtime.errors import UserError

MEAN = "mean"  # the target that stands for the whole task
IDENTITY = "identity_leakage"  # the task of every track data set, which needs no labels, and its one metric

Draw = Callable[[Array], Array]  # weights (B, N), how often each resample holds each image -> its value, (B,)


@dataclass(frozen=True)
class Statistic:
    """A value of N test images, and those that it is over."""

    of: Draw  # NaN under weights that leave it undefined
    images: NDArray[np.bool_]  # (N,)
    positives: int | None = None  # of a class that is told from the rest of the images

    @property
    def n(self) -> int:
        return int(self.images.sum())


@dataclass(frozen=True)
class Predictions:
    """Truth and predictions of one probe for N test images."""

    truth: Array  # (N, K); NaN: unknown
    prediction: Array  # (N, K)
    classes: tuple[str, ...]  # names of the K columns; empty where columns are coordinates
    group: Groups | None = None  # None: every image is a group of its own

    def known(self, column: int) -> NDArray[np.bool_]:
        """Images (N,) whose truth in this column is known."""
        return np.isfinite(self.truth[:, column])

    def __getitem__(self, images: NDArray[np.bool_]) -> "Predictions":
        group = None if self.group is None else self.group[images]
        return replace(self, truth=self.truth[images], prediction=self.prediction[images], group=group)

    @cached_property
    def groups(self) -> Groups:
        """Number of the group (N,) of each image."""
        return np.arange(len(self.truth)) if self.group is None else self.group


@dataclass(frozen=True)
class Score:
    target: str
    metric: str
    value: float  # NaN: undefined on these images
    ci_low: float
    ci_high: float
    n: int  # images that the value is over, or identities
    groups: int  # that these images belong to: what is resampled
    positives: int | None  # as in Statistic

    @property
    def row(self) -> dict[str, Any]:
        """Columns of tables.SCORES but for data set, task and split."""
        return {**vars(self), "better": better(self.metric)}


@dataclass(frozen=True)
class Printed:
    """A score as text."""

    value: str
    interval: str  # `[0.62, 0.69]`, or `no interval`


def auc(images: Predictions) -> dict[str, Statistic]:
    """Area under the ROC curve of every class against the rest, and its mean over the classes that occur."""
    return _of_classes(metrics.weighted_auc, images)


def accuracy(images: Predictions) -> dict[str, Statistic]:
    """Share of images whose highest score is that of the true class; undefined if all images are of one class."""
    is_right = (images.truth.argmax(1) == images.prediction.argmax(1)).astype(np.float64)
    return {MEAN: _mean_of(is_right, np.isfinite(images.truth.sum(axis=1)) & _are_several(images))}


def f1(images: Predictions) -> dict[str, Statistic]:
    """F1 of every label at the probe's threshold, a score of 0.5, and its mean over the labels that occur."""
    return _of_classes(metrics.weighted_f1, replace(images, prediction=images.prediction > 0.5))


def label_accuracy(images: Predictions) -> dict[str, Statistic]:
    """Share of images whose label is right at a threshold of 0.5, for every label, and the mean over labels.

    Undefined for a label that all images have, or none has.
    """
    is_right = ((images.truth > 0.5) == (images.prediction > 0.5)).astype(np.float64)
    return _with_mean({name: _mean_of(is_right[:, k], _told_apart(images, k)) for k, name in enumerate(images.classes)})


def neighbour_recall(images: Predictions) -> dict[str, Statistic]:
    """Share of the nearest neighbours that are of the image's own class: mean over all images, and over each class.

    The mean is undefined if all images are of one class.
    """
    share = (images.truth * images.prediction).sum(1)
    of_class = {name: _mean_of(share, images.truth[:, k] > 0.5) for k, name in enumerate(images.classes)}
    return {**of_class, MEAN: _mean_of(share, np.full(len(share), _are_several(images)))}


def identity_leakage(images: Predictions) -> dict[str, Statistic]:
    """Share of frames whose nearest neighbour in another video shows the same identity; a row is one identity.

    Identities have equal weight and are what is resampled: frames of one identity are not independent draws.
    """
    return {MEAN: _mean_of(images.prediction[:, 0])}


def angle_error_deg(images: Predictions) -> dict[str, Statistic]:
    """Mean absolute error of every angle, degrees, and its mean over the angles."""
    return _by_column(images, np.abs(images.truth - images.prediction))


def interocular_percent(images: Predictions) -> dict[str, Statistic]:
    """Mean distance of 5 or 68 points in per cent of that of the eye points: all points, and by region.

    Raises:
        UserError: another number of points.
    """
    rows, columns = images.truth.shape
    count = columns // 2
    if columns % 2 or count not in metrics.EYE_POINTS:
        raise UserError(f"metric interocular_percent needs 5 or 68 points, found {columns} coordinates")
    errors = metrics.point_errors(images.truth.reshape(rows, count, 2), images.prediction.reshape(rows, count, 2))
    points_of = {MEAN: slice(None), **metrics.REGIONS[count]}
    return {target: _mean_of(errors[:, points].mean(axis=1)) for target, points in points_of.items()}


@dataclass(frozen=True)
class Metric:
    """How a metric is computed and shown."""

    of: Callable[[Predictions], dict[str, Statistic]]
    label: str
    higher_is_better: bool
    decimals: int  # printed
    chance: float | None  # chance level, where it is a constant


METRICS = {
    "auc": Metric(auc, "AUC", True, 3, 0.5),
    "accuracy": Metric(accuracy, "accuracy", True, 3, None),
    "f1": Metric(f1, "F1", True, 3, None),
    "label_accuracy": Metric(label_accuracy, "accuracy per label", True, 3, None),
    "neighbour_recall": Metric(neighbour_recall, "share of neighbours of the same class", True, 3, None),
    IDENTITY: Metric(identity_leakage, "identity leakage, share of nearest frames", False, 3, None),
    "angle_error_deg": Metric(angle_error_deg, "mean absolute error, degrees", False, 2, None),
    "interocular_percent": Metric(interocular_percent, "error, % of inter-ocular distance", False, 2, None),
}


def better(metric: str) -> str:
    """The direction in which the metric improves, as tables say it."""
    return "higher" if METRICS[metric].higher_is_better else "lower"


def axis(metric: str) -> str:
    """Name of the metric with the direction that is better."""
    return f"{METRICS[metric].label} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def number(metric: str, value: float, *, signed: bool = False) -> str:
    """The value with the metric's decimals, three for a metric that is not in METRICS."""
    decimals = METRICS[metric].decimals if metric in METRICS else 3
    return f"{value:{'+' if signed else ''}.{decimals}f}"


def printed(row: Mapping[str, Any], *, signed: bool = False) -> Printed:
    """`value`, `ci_low` and `ci_high` of a row with a `metric`; differences are `signed`."""
    value, low, high = (number(row["metric"], row[name], signed=signed) for name in ("value", "ci_low", "ci_high"))
    is_defined = np.isfinite(row["ci_low"]) and np.isfinite(row["ci_high"])
    return Printed(value, f"[{low}, {high}]" if is_defined else "no interval")


def score(metric: str, runs: Sequence[Predictions], bootstrap: Bootstrap) -> Iterator[Score]:
    """The metric's value on each of its targets, averaged over `runs`, with its bootstrap interval.

    Args:
        metric: a key of METRICS.
        runs: predictions for the same images in the same order, one element per seed.
        bootstrap: groups of images are resampled with replacement; seeds are not, so that the interval of a pooled
            score says how far it depends on the test images.

    Resamples in which a statistic is undefined (a class without images) are left out of its interval.
    """
    pooled = _pooled(metric, runs)
    drawn: dict[str, list[Array]] = {target: [] for target in pooled}
    groups = runs[0].groups
    for weights in resamples(groups, bootstrap):
        for target, statistic in pooled.items():
            drawn[target].append(statistic.of(weights))
    for target, statistic in pooled.items():
        yield _score(target, metric, statistic, drawn[target], groups=groups, bootstrap=bootstrap)


def whole(metric: str, runs: Sequence[Predictions], bootstrap: Bootstrap) -> Score | None:
    """The score of the target MEAN alone, as `score` has it; None where it is undefined."""
    statistic = _pooled(metric, runs).get(MEAN)
    if statistic is None or np.isnan(_value(statistic)):
        return None
    groups = runs[0].groups
    drawn = [statistic.of(weights) for weights in resamples(groups, bootstrap)]
    return _score(MEAN, metric, statistic, drawn, groups=groups, bootstrap=bootstrap)


def _score(
    target: str, metric: str, statistic: Statistic, drawn: Sequence[Array], *, groups: Groups, bootstrap: Bootstrap
) -> Score:
    """The statistic's value, with the interval of what the resamples gave."""
    counted = len(np.unique(groups[statistic.images]))
    low, high = interval(np.concatenate(drawn), bootstrap.confidence, counted)
    return Score(target, metric, _value(statistic), low, high, statistic.n, counted, statistic.positives)


def mean(metric: str, images: Predictions) -> float:
    """The metric's value for the whole task, NaN where it is undefined."""
    statistic = METRICS[metric].of(images).get(MEAN)
    return float("nan") if statistic is None else _value(statistic)


def compare(
    metric: str, runs: Sequence[Predictions], controls: Sequence[Predictions], bootstrap: Bootstrap
) -> Score | None:
    """The task's value minus that of a control on the same images, with the interval of this difference.

    Each resample scores both on the same images, so that an image that is hard for both cancels. None where undefined.
    """
    ours, theirs = (_pooled(metric, predictions).get(MEAN) for predictions in (runs, controls))
    if ours is None or theirs is None:
        return None
    difference = Statistic(lambda weights: ours.of(weights) - theirs.of(weights), ours.images)
    groups = runs[0].groups
    drawn = [difference.of(weights) for weights in resamples(groups, bootstrap)]
    return _score(MEAN, metric, difference, drawn, groups=groups, bootstrap=bootstrap)


def splits(subset: NDArray[np.str_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Names of the splits that are scored and which of the N test images belong to each.

    All of them are `test`; where the owner names several subsets, each is `test/<subset>` as well.
    """
    yield "test", np.ones(len(subset), np.bool_)
    names = sorted(set(subset.tolist()) - {""})
    for name in names if len(names) > 1 else []:
        yield f"test/{name}", subset == name


def _pooled(metric: str, runs: Sequence[Predictions]) -> dict[str, Statistic]:
    """The metric's statistics, each averaged over `runs`."""
    first, *others = (METRICS[metric].of(run) for run in runs)
    return {
        target: _average([of_first, *(of_run[target] for of_run in others)], of_first.positives)
        for target, of_first in first.items()
    }


def _average(statistics: Sequence[Statistic], positives: int | None = None) -> Statistic:
    """Their mean; it is over every image that one of them is over."""
    return Statistic(
        lambda weights: np.mean([statistic.of(weights) for statistic in statistics], axis=0),
        np.logical_or.reduce([statistic.images for statistic in statistics]),
        positives,
    )


def _value(statistic: Statistic) -> float:
    """On all images once."""
    return float(statistic.of(np.ones((1, len(statistic.images))))[0])


def _with_mean(of_target: dict[str, Statistic]) -> dict[str, Statistic]:
    """`of_target` and the mean over the targets that are defined on these images."""
    present = [statistic for statistic in of_target.values() if np.isfinite(_value(statistic))]
    return {**of_target, MEAN: _average(present)} if present else of_target


def _of_classes(measure: Callable[..., Array], images: Predictions) -> dict[str, Statistic]:
    """`measure` of every class against the rest, and the mean over the classes that are defined."""
    return _with_mean({name: _of_class(measure, images, k) for k, name in enumerate(images.classes)})


def _of_class(measure: Callable[..., Array], images: Predictions, column: int) -> Statistic:
    """`measure` of the images whose truth in this column is known; undefined if it is the same for all of them."""
    known = _told_apart(images, column)
    positive, predicted = images.truth[known, column] > 0.5, images.prediction[known, column]
    columns = slice(None) if known.all() else known  # without a copy, if that is all of them
    return Statistic(lambda weights: measure(positive, predicted, weights[:, columns]), known, int(positive.sum()))


def _are_several(images: Predictions) -> bool:
    """Whether the images are of more than one class."""
    return int((images.truth > 0.5).any(axis=0).sum()) > 1


def _told_apart(images: Predictions, column: int) -> NDArray[np.bool_]:
    """Images (N,) whose truth in this column is known; none of them where all have the label, or none has it."""
    known = images.known(column)
    has_label = images.truth[known, column] > 0.5
    return known & (has_label.any() and not has_label.all())


def _by_column(images: Predictions, values: Array) -> dict[str, Statistic]:
    """Mean of each column of `values` (N, K) over the images whose truth is known, and the mean over the columns."""
    return _with_mean({name: _mean_of(values[:, k], images.known(k)) for k, name in enumerate(images.classes)})


def _mean_of(values: Array, images: NDArray[np.bool_] | None = None) -> Statistic:
    """Mean of `values` (N,) over these images, or over all; NaN under weights that hold none of them."""
    over = np.ones(len(values), np.bool_) if images is None else images
    return Statistic(lambda weights: metrics.weighted_mean(values[over], weights[:, over]), over)
