from functools import cache
from statistics import NormalDist

import numpy as np
import pytest

from stages.evaluation import scores
from stages.evaluation.resampling import Bootstrap, interval, resamples
from stages.evaluation.scores import Predictions


def test_images_of_one_group_are_drawn_together():
    groups = np.array([3, 0, 0, 7, 3, 3])
    (weights,) = resamples(groups, Bootstrap(200, 0.95, 1))
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, 0] == weights[:, 4]).all()
    assert (weights[:, 0] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()  # as many groups as there are


def test_images_that_are_groups_of_their_own_are_drawn_as_images():
    (weights,) = resamples(np.arange(5), Bootstrap(50, 0.95, 1))
    expected = np.random.default_rng(1).multinomial(5, np.full(5, 0.2), size=50)
    assert np.array_equal(weights, expected)


def test_few_groups_widen_the_interval_to_that_of_student():
    drawn = np.random.default_rng(1).normal(size=400_000)
    low, high = interval(drawn, 0.95, 25)
    assert (low, high) == pytest.approx((-2.064 * np.sqrt(25 / 24), 2.064 * np.sqrt(25 / 24)), abs=0.02)
    assert interval(drawn, 0.95, 100_000) == pytest.approx((-1.96, 1.96), abs=0.02)


def test_one_group_or_nothing_that_is_defined_has_no_interval():
    assert np.isnan(interval(np.array([2.0, 2.0]), 0.95, 1)).all()
    assert np.isnan(interval(np.array([np.nan]), 0.95, 9)).all()


def test_copies_of_every_image_in_its_group_change_neither_value_nor_interval():
    rng = np.random.default_rng(2)
    truth = np.eye(2)[rng.integers(2, size=40)]
    alone = Predictions(truth, truth + rng.normal(size=truth.shape), ("a", "b"))
    copies = Predictions(truth.repeat(4, 0), alone.prediction.repeat(4, 0), alone.classes, np.arange(40).repeat(4))
    bootstrap = Bootstrap(200, 0.95, 7)
    for one, four in zip(
        scores.score("auc", [alone], bootstrap), scores.score("auc", [copies], bootstrap), strict=True
    ):
        assert (four.value, four.ci_low, four.ci_high) == pytest.approx((one.value, one.ci_low, one.ci_high))
        assert (one.n, one.groups, four.n, four.groups) == (40, 40, 160, 40)
    same = scores.compare("auc", [copies], [copies], bootstrap)
    assert same is not None
    assert (same.n, same.groups) == (160, 40)


def coverage(n: int, images_per_group: int, *, knows_groups: bool = True, repeats: int = 1000) -> float:
    """How often the interval of a mean error covers the true one; errors are skewed, and shared within a group."""
    rng, covered = np.random.default_rng(5), 0
    group = np.arange(n // images_per_group).repeat(images_per_group)
    for repeat in range(repeats):
        errors = rng.gamma(4, 1, n // images_per_group)[group]
        rows = Predictions(np.ones((n, 1)), errors[:, None], (), group if knows_groups else None)
        (found,) = scores.score(scores.IDENTITY, [rows], Bootstrap(250, 0.95, repeat))  # the mean over the rows
        covered += found.ci_low <= 4 <= found.ci_high
    return covered / repeats


@pytest.mark.slow
@pytest.mark.parametrize(("n", "images_per_group"), [(100, 1), (400, 1), (100, 4), (400, 4)])
def test_intervals_cover_the_truth_with_and_without_clusters_that_share_their_error(n, images_per_group):
    """Of 1000 samples chance moves the share by 0.014, two standard errors."""
    assert 0.93 - 0.014 < coverage(n, images_per_group) < 0.97 + 0.014


@cache
def of_means(distribution: str, n: int, repeats: int = 1000) -> dict[str, float]:
    """How often intervals of 95 % of the mean of n values cover the true one, expanded and plain percentiles."""
    draw, true = {
        "normal": (lambda rng: rng.normal(4, 1, n), 4.0),
        "gamma": (lambda rng: rng.gamma(4, 1, n), 4.0),
        "four of five right": (lambda rng: (rng.random(n) < 0.8).astype(float), 0.8),
        "log-normal": (lambda rng: rng.lognormal(0, 1, n), float(np.exp(0.5))),
    }[distribution]
    rng, expanded, plain = np.random.default_rng(5), 0, 0
    for repeat in range(repeats):
        values = draw(rng)
        (weights,) = resamples(np.arange(n), Bootstrap(500, 0.95, repeat))
        means = weights @ values / n
        low, high = interval(means, 0.95, n)
        expanded += low - 1e-12 <= true <= high + 1e-12
        low, high = np.quantile(means, [0.025, 0.975])
        plain += low <= true <= high
    return {"expanded": expanded / repeats, "plain": plain / repeats}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distribution", "n", "share"),
    [
        ("normal", 15, 0.939),
        ("gamma", 15, 0.947),
        ("four of five right", 15, 0.977),
        ("log-normal", 15, 0.870),  # of a long tail 15 values say too little, whatever the interval
        ("normal", 30, 0.949),
    ],
)
def test_few_images_are_covered_as_often_as_the_page_of_reliability_says(distribution, n, share):
    """Of 1000 samples chance moves a share by up to 0.021, two standard errors."""
    assert of_means(distribution, n)["expanded"] == pytest.approx(share, abs=0.021)


NORMAL = NormalDist()
AUC = NORMAL.cdf(1 / np.sqrt(2))  # of scores that lie one standard deviation higher for positives
WORSE_AUC = NORMAL.cdf(0.5 / np.sqrt(2))  # half of one
DRAWN = {  # metric and what is drawn -> the true value of the task, or of the difference to a worse method
    ("auc", "value"): AUC,
    ("auc", "difference"): AUC - WORSE_AUC,
    ("f1", "value"): 0.7,
    ("f1", "difference"): 0.7 - 0.5,
    ("angle_error_deg", "difference"): 4.0 - 5.0,
}


def _classes(n: int, rng: np.random.Generator) -> tuple[Predictions, Predictions]:
    """Two methods that tell 40 % positives from the rest; what is hard for one is hard for the other."""
    truth = rng.random((n, 1)) < 0.4
    shared = rng.normal(size=(n, 1))
    of_method = (height * truth + np.sqrt(0.5) * (shared + rng.normal(size=(n, 1))) for height in (1.0, 0.5))
    return tuple(Predictions(truth.astype(float), told, ("a",)) for told in of_method)


def _units(n: int, rng: np.random.Generator) -> tuple[Predictions, Predictions]:
    """40 % positives, of which 70 % are found, or 50 %; F1 is that share, since as many others are taken for one."""
    truth, luck = rng.random((n, 1)) < 0.4, rng.random((n, 1))
    of_method = (luck < np.where(truth, found, (1 - found) * 0.4 / 0.6) for found in (0.7, 0.5))
    return tuple(Predictions(truth.astype(float), told.astype(float), ("a",)) for told in of_method)


def _angles(n: int, rng: np.random.Generator) -> tuple[Predictions, Predictions]:
    """Errors of 4 and 5 degrees in the mean, 2 of which an image has in common."""
    shared = rng.gamma(2, 1, (n, 1))
    of_method = (shared + rng.gamma(mean, 1, (n, 1)) for mean in (2, 3))
    return tuple(Predictions(np.zeros((n, 1)), told, ("a",)) for told in of_method)


def of_metric(metric: str, what: str, n: int = 100, repeats: int = 1000) -> float:
    """How often the interval of 95 % of a metric, or of a paired difference, of n images covers the true one."""
    draw = {"auc": _classes, "f1": _units, "angle_error_deg": _angles}[metric]
    rng, true, covered = np.random.default_rng(5), DRAWN[metric, what], 0
    for repeat in range(repeats):
        better, worse = draw(n, rng)
        bootstrap = Bootstrap(500, 0.95, repeat)
        found = (
            scores.whole(metric, [better], bootstrap)
            if what == "value"
            else scores.compare(metric, [better], [worse], bootstrap)
        )
        assert found is not None
        covered += found.ci_low <= true <= found.ci_high
    return covered / repeats


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "what"), DRAWN)
def test_auc_f1_and_paired_differences_are_covered(metric: str, what: str):
    """Of 500 samples chance moves the share by 0.02, two standard errors; the page of reliability has 1000."""
    assert 0.93 - 0.02 < of_metric(metric, what, repeats=500) < 0.97 + 0.02


@pytest.mark.slow
def test_plain_percentiles_of_fifteen_images_would_cover_less():
    found = of_means("normal", 15)
    assert found["plain"] < 0.92 < found["expanded"]


@pytest.mark.slow
def test_clusters_that_are_not_known_would_not_be_covered():
    assert coverage(100, 4, knows_groups=False, repeats=300) < 0.8
