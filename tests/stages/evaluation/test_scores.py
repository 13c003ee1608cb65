from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, recall_score, roc_auc_score

from stages.evaluation import resampling, scores
from stages.evaluation.scores import Bootstrap, Predictions
from stages.runtime.errors import UserError
from stages.runtime.params import Metric

NAMES = ("neutral", "happy", "sad")
BOOTSTRAP = Bootstrap(resamples=500, confidence=0.95, seed=7)


def classified(count: int, *, skill: float, seed: int = 1) -> Predictions:
    codes = np.random.default_rng(0).integers(0, 3, count)
    truth = np.eye(3)[codes]
    return Predictions(truth, skill * truth + np.random.default_rng(seed).normal(size=(count, 3)), NAMES)


def by_target(metric: str, *runs: Predictions, bootstrap: Bootstrap = BOOTSTRAP) -> dict[str, scores.Score]:
    return {score.target: score for score in scores.score(metric, runs, bootstrap)}


def test_every_metric_but_identity_leakage_can_be_configured():
    assert sorted(scores.METRICS) == sorted([*get_args(Metric), scores.IDENTITY])


def test_classes_agree_with_scikit_learn():
    images = classified(200, skill=1.0)
    auc = by_target("auc", images)
    expected = [roc_auc_score(images.truth[:, k], images.prediction[:, k]) for k in range(3)]
    assert [auc[name].value for name in NAMES] == pytest.approx(expected)
    assert auc["mean"].value == pytest.approx(np.mean(expected))
    right = accuracy_score(images.truth.argmax(1), images.prediction.argmax(1))
    assert by_target("accuracy", images)["mean"].value == pytest.approx(right)


def test_the_interval_of_an_accuracy_is_that_of_a_proportion():
    images = classified(400, skill=1.5)
    found = by_target("accuracy", images, bootstrap=Bootstrap(4000, 0.95, 7))["mean"]
    half_width = 1.96 * np.sqrt(found.value * (1 - found.value) / 400)
    assert found.ci_low == pytest.approx(found.value - half_width, abs=0.006)
    assert found.ci_high == pytest.approx(found.value + half_width, abs=0.006)


def test_a_lower_confidence_gives_a_narrower_interval():
    wide, narrow = (
        by_target("auc", classified(100, skill=0.5), bootstrap=Bootstrap(500, c, 7))["mean"] for c in (0.95, 0.5)
    )
    assert wide.ci_low < narrow.ci_low <= narrow.value <= narrow.ci_high < wide.ci_high


def test_intervals_do_not_depend_on_how_resamples_are_split_into_blocks(monkeypatch: pytest.MonkeyPatch):
    images = classified(100, skill=0.5)
    whole = by_target("auc", images)
    monkeypatch.setattr(resampling, "CELLS_PER_BLOCK", 700)
    assert by_target("auc", images) == whole


def test_pooling_averages_over_seeds_on_the_same_images():
    first, second = classified(100, skill=0.5, seed=1), classified(100, skill=2.0, seed=2)
    pooled = by_target("auc", first, second)["mean"]
    assert pooled.value == pytest.approx(
        (by_target("auc", first)["mean"].value + by_target("auc", second)["mean"].value) / 2
    )
    assert pooled.ci_low < pooled.value < pooled.ci_high
    assert by_target("auc", first, first) == by_target("auc", first)


def test_a_class_without_images_is_undefined_and_left_out_of_the_mean():
    images = classified(60, skill=1.0)
    images = images[images.truth[:, 2] == 0]
    found = by_target("auc", images)
    assert np.isnan([found["sad"].value, found["sad"].ci_low]).all()
    assert found["mean"].value == pytest.approx((found["neutral"].value + found["happy"].value) / 2)


def test_a_rare_class_has_an_interval_from_the_resamples_that_hold_it():
    images = classified(40, skill=1.0)
    keep = images.truth[:, 2] == 0
    keep[np.flatnonzero(images.truth[:, 2])[0]] = True
    found = by_target("auc", images[keep])["sad"]
    assert 0 <= found.ci_low <= found.value <= found.ci_high <= 1


def test_landmark_metric_needs_5_or_68_points():
    with pytest.raises(UserError, match="needs 5 or 68 points"):
        by_target("interocular_percent", Predictions(np.zeros((2, 14)), np.zeros((2, 14)), ()))


def test_a_single_subset_has_no_row_of_its_own():
    assert [name for name, _ in scores.splits(np.array(["", "a"]))] == ["test"]
    names = dict(scores.splits(np.array(["b", "a", "b"])))
    assert list(names) == ["test", "test/a", "test/b"]
    assert names["test/b"].tolist() == [True, False, True]


def test_a_difference_to_a_control_is_paired():
    good, control = classified(100, skill=2.0, seed=1), classified(100, skill=0.5, seed=2)
    found = scores.compare("auc", [good], [control], BOOTSTRAP)
    assert found is not None
    expected = by_target("auc", good)["mean"].value - by_target("auc", control)["mean"].value
    assert found.value == pytest.approx(expected)
    assert found.ci_low < expected < found.ci_high
    same = scores.compare("auc", [good], [good], BOOTSTRAP)
    assert same is not None
    assert same.ci_low == same.value == same.ci_high == 0


def test_a_difference_counts_the_images_with_a_known_truth():
    good = classified(100, skill=2.0, seed=1)
    truth = good.truth.astype(float)
    truth[60:] = np.nan
    some = replace(good, truth=truth)
    found = scores.compare("auc", [some], [some], BOOTSTRAP)
    assert found is not None
    assert found.n == 60 == by_target("auc", some)["mean"].n


# Ten images of two classes, three of which are `rare`; the truth of image 9 is unknown in the second column.
COMMON = np.array([0.0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
TWO = Predictions(np.stack([1 - COMMON, COMMON], axis=1), np.linspace(0.1, 0.9, 20).reshape(10, 2), ("rare", "common"))
PARTLY = replace(TWO, truth=np.where([[False, row == 9] for row in range(10)], np.nan, TWO.truth))
POINTS = Predictions(np.arange(40.0).reshape(4, 10), np.zeros((4, 10)), ())


@pytest.mark.parametrize(
    ("metric", "images", "counts"),
    [
        ("auc", TWO, {"rare": (10, 3), "common": (10, 7), "mean": (10, None)}),
        ("auc", PARTLY, {"rare": (10, 3), "common": (9, 6), "mean": (10, None)}),
        ("f1", PARTLY, {"rare": (10, 3), "common": (9, 6), "mean": (10, None)}),
        ("accuracy", TWO, {"mean": (10, None)}),
        ("accuracy", PARTLY, {"mean": (9, None)}),
        ("label_accuracy", PARTLY, {"rare": (10, None), "common": (9, None), "mean": (10, None)}),
        ("angle_error_deg", PARTLY, {"rare": (10, None), "common": (9, None), "mean": (10, None)}),
        ("neighbour_recall", TWO, {"rare": (3, None), "common": (7, None), "mean": (10, None)}),
        ("interocular_percent", POINTS, dict.fromkeys(("eyes", "nose", "mouth", "mean"), (4, None))),
        ("identity_leakage", Predictions(np.ones((6, 1)), np.ones((6, 1)), ()), {"mean": (6, None)}),
    ],
)
def test_n_counts_what_a_value_is_over_and_positives_those_of_a_class(metric, images, counts):
    for runs in ([images], [images, images]):
        assert {target: (score.n, score.positives) for target, score in by_target(metric, *runs).items()} == counts


@pytest.mark.parametrize("metric", ["auc", "f1", "label_accuracy", "neighbour_recall", "angle_error_deg"])
def test_images_that_n_does_not_count_do_not_change_the_value(metric):
    """Each class is scored once more on the counted images alone."""
    images = classified(40, skill=1.0) if metric == "neighbour_recall" else units(40)
    found = by_target(metric, images)
    for k, name in enumerate(images.classes):
        counted = images.truth[:, k] > 0.5 if metric == "neighbour_recall" else images.known(k)
        assert found[name].n == counted.sum() < 40
        assert found[name].value == pytest.approx(by_target(metric, images[counted])[name].value)


def test_a_class_that_is_undefined_is_not_counted_in_the_mean():
    truth = np.array([[1.0, np.nan], [0, np.nan], [1, np.nan], [np.nan, 0], [np.nan, 0]])
    found = by_target("auc", Predictions(truth, np.zeros((5, 2)), ("au1", "au2")))
    assert (found["au2"].n, found["au2"].positives) == (0, 0)
    assert found["mean"].n == 3


def units(count: int, seed: int = 1) -> Predictions:
    """Three labels, of which a quarter is unknown."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 3)) < 0.3).astype(float)
    prediction = np.clip(0.3 * truth + 0.6 * rng.random((count, 3)), 0, 1)
    truth[rng.random(truth.shape) < 0.25] = np.nan
    return Predictions(truth, prediction, ("au1", "au2", "au4"))


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("f1", lambda truth, score: f1_score(truth, score > 0.5)),
        ("label_accuracy", lambda truth, score: accuracy_score(truth, score > 0.5)),
        ("auc", roc_auc_score),
    ],
)
def test_labels_agree_with_scikit_learn_where_they_are_known(metric, reference):
    images = units(200)
    found = by_target(metric, images)
    expected = {}
    for k, name in enumerate(images.classes):
        known = np.isfinite(images.truth[:, k])
        expected[name] = reference(images.truth[known, k], images.prediction[known, k])
        assert found[name].n == known.sum() < 200
        assert found[name].value == pytest.approx(expected[name])
        assert found[name].ci_low < found[name].value < found[name].ci_high
    assert found["mean"].value == pytest.approx(np.mean(list(expected.values())))


def test_taking_unknown_labels_as_absent_would_change_the_scores():
    images = units(200)
    absent = Predictions(np.nan_to_num(images.truth), images.prediction, images.classes)
    assert by_target("f1", images)["mean"].value != by_target("f1", absent)["mean"].value


def test_a_label_without_a_positive_has_no_f1_and_is_left_out_of_the_mean():
    images = units(100)
    images.truth[:, 1] = np.minimum(images.truth[:, 1], 0)
    found = by_target("f1", images)
    assert np.isnan(found["au2"].value)
    assert found["mean"].value == pytest.approx((found["au1"].value + found["au4"].value) / 2)


def test_the_error_of_angles_is_their_mean_absolute_difference():
    truth, missed = np.array([[10.0, -20, 30], [0, 0, 0]]), np.array([[3, -1, 0], [-1, 1, 4]])
    found = by_target("angle_error_deg", Predictions(truth, truth + missed, ("roll", "pitch", "yaw")))
    assert [found[name].value for name in ("roll", "pitch", "yaw", "mean")] == pytest.approx([2, 1, 2, 5 / 3])


def test_the_error_of_five_points_is_relative_to_the_distance_of_the_eyes():
    truth = np.array([[[0.0, 0], [50, 0], [25, 30], [10, 60], [40, 60]]])
    prediction = truth + np.array([[0, 0], [0, 0], [3, 4], [0, 0], [0, 5]])
    found = by_target("interocular_percent", Predictions(truth.reshape(1, 10), prediction.reshape(1, 10), ()))
    assert {target: score.value for target, score in found.items()} == pytest.approx(
        {"mean": 4, "eyes": 0, "nose": 10, "mouth": 5}
    )


def test_angles_agree_with_scikit_learn():
    rng = np.random.default_rng(6)
    truth, prediction = rng.normal(0, 30, (80, 3)), rng.normal(0, 30, (80, 3))
    found = by_target("angle_error_deg", Predictions(truth, prediction, ("roll", "pitch", "yaw")))
    expected = mean_absolute_error(truth, prediction, multioutput="raw_values")
    assert [found[name].value for name in ("roll", "pitch", "yaw")] == pytest.approx(expected)
    assert found["mean"].value == pytest.approx(mean_absolute_error(truth, prediction))


def test_the_recall_of_one_neighbour_is_that_of_scikit_learn():
    rng = np.random.default_rng(7)
    codes, nearest = rng.integers(0, 3, 90), rng.integers(0, 3, 90)
    found = by_target("neighbour_recall", Predictions(np.eye(3)[codes], np.eye(3)[nearest], NAMES))
    assert [found[name].value for name in NAMES] == pytest.approx(recall_score(codes, nearest, average=None))
    assert found["mean"].value == pytest.approx(accuracy_score(codes, nearest))


def test_neighbour_recall_is_the_share_of_the_same_class():
    truth = np.eye(3)[[0, 0, 0, 1]]
    shares = np.array([[1.0, 0, 0], [0.4, 0.6, 0], [0.4, 0, 0.6], [0.8, 0.2, 0]])
    found = by_target("neighbour_recall", Predictions(truth, shares, NAMES))
    assert {target: score.value for target, score in found.items()} == pytest.approx(
        {"neutral": 0.6, "happy": 0.2, "sad": np.nan, "mean": 0.5}, nan_ok=True
    )


def test_identity_leakage_is_the_mean_over_identities_and_lower_is_better():
    found = by_target("identity_leakage", Predictions(np.ones((3, 1)), np.array([[1.0], [0], [0.5]]), ()))
    assert found["mean"].value == pytest.approx(0.5)
    assert 0 <= found["mean"].ci_low < 0.5 < found["mean"].ci_high <= 1
    assert found["mean"].n == 3
    assert found["mean"].row["better"] == "lower"


@pytest.mark.parametrize("metric", ["auc", "accuracy", "neighbour_recall"])
def test_the_value_of_a_task_is_that_of_its_mean_target(metric):
    images = classified(50, skill=1.0)
    assert scores.mean(metric, images) == pytest.approx(by_target(metric, images)["mean"].value)


def test_the_value_of_a_task_without_a_defined_class_is_undefined():
    assert np.isnan(scores.mean("auc", Predictions(np.ones((4, 1)), np.ones((4, 1)), ("au1",))))


@pytest.mark.parametrize("metric", ["auc", "accuracy", "f1", "label_accuracy", "neighbour_recall"])
def test_images_of_one_class_have_no_score(metric):
    """Whoever says `b` of all of them is right every time."""
    truth = np.eye(3)[np.ones(9, int)]
    found = by_target(metric, Predictions(truth, truth, NAMES))
    assert np.isnan(scores.mean(metric, Predictions(truth, truth, NAMES)))
    assert all(np.isnan(score.value) for target, score in found.items() if metric != "neighbour_recall")


def test_one_image_has_a_value_but_no_interval():
    found = by_target(scores.IDENTITY, Predictions(np.ones((1, 1)), np.full((1, 1), 0.4), ()))["mean"]
    assert (found.value, found.n, found.groups) == (0.4, 1, 1)
    assert np.isnan([found.ci_low, found.ci_high]).all()


NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "estimate", "signed", "value", "interval"),
    [
        ("auc", (0.65, 0.6184, 0.69), False, "0.650", "[0.618, 0.690]"),
        ("angle_error_deg", (0.5, -0.256, 1), True, "+0.50", "[-0.26, +1.00]"),
        ("auc", (0.65, NAN, NAN), False, "0.650", "no interval"),
        ("an old metric", (1, 0.5, 2), False, "1.000", "[0.500, 2.000]"),
    ],
)
def test_a_row_is_printed_with_the_decimals_of_its_metric(metric, estimate, signed, value, interval):
    row = {"metric": metric, **dict(zip(("value", "ci_low", "ci_high"), estimate, strict=True))}
    assert scores.printed(row, signed=signed) == scores.Printed(value, interval)
