import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve, roc_auc_score, roc_curve

from fabnet import metrics


def face(eyes: tuple[float, float]) -> np.ndarray:
    """68 points on the x axis at 0, but for the outer eye corners."""
    points = np.zeros((1, 68, 2))
    points[0, 36], points[0, 45] = (eyes[0], 0), (eyes[1], 0)
    return points


def test_an_error_of_a_tenth_of_the_eye_distance_is_ten_per_cent():
    truth = face((0, 50))
    prediction = truth.copy()
    prediction[0, 8] += (3, 4)  # 5 px of 50 px
    errors = metrics.point_errors(truth, prediction)
    assert errors[0, 8] == pytest.approx(10)
    assert errors.sum() == pytest.approx(10)
    assert errors.mean() == pytest.approx(10 / 68)


def test_the_error_does_not_change_with_the_size_of_the_face():
    rng = np.random.default_rng(1)
    truth, prediction = rng.normal(size=(2, 5, 68, 2))
    errors = metrics.point_errors(truth, prediction)
    assert metrics.point_errors(truth * 7 + 3, prediction * 7 + 3) == pytest.approx(errors)


@pytest.mark.parametrize("count", [5, 68])
def test_the_regions_hold_every_point_once(count: int):
    covered = np.concatenate([np.arange(count)[region] for region in metrics.REGIONS[count].values()])
    assert sorted(covered) == list(range(count))


def test_a_face_without_eye_distance_is_refused():
    with pytest.raises(ValueError, match="coincide"):
        metrics.point_errors(face((3, 3)), face((3, 3)))


def test_auc_of_a_hand_counted_case():
    # positives 0.9 and 0.4, negatives 0.5 and 0.1: 3 of 4 pairs in order
    score, positive = np.array([0.9, 0.4, 0.5, 0.1]), np.array([True, True, False, False])
    assert metrics.weighted_auc(positive, score, np.ones((1, 4)))[0] == pytest.approx(0.75)
    assert metrics.weighted_auc(positive, score, np.array([[2, 0, 1, 1.0]]))[0] == pytest.approx(1.0)


@pytest.mark.parametrize("decimals", [1, 8])
def test_auc_agrees_with_scikit_learn_with_ties_and_weights(decimals: int):
    rng = np.random.default_rng(3)
    score, positive = rng.random(300).round(decimals), rng.random(300) < 0.2
    weights = rng.multinomial(300, np.full(300, 1 / 300), size=20).astype(float)
    expected = [roc_auc_score(positive, score, sample_weight=row) for row in weights]
    assert metrics.weighted_auc(positive, score, weights) == pytest.approx(expected)


def test_f1_agrees_with_scikit_learn_under_the_weights_of_resamples():
    rng = np.random.default_rng(8)
    positive, predicted = rng.random(200) < 0.2, rng.random(200) < 0.3
    weights = rng.multinomial(200, np.full(200, 1 / 200), size=20).astype(float)
    expected = [f1_score(positive, predicted, sample_weight=row) for row in weights]
    assert metrics.weighted_f1(positive, predicted, weights) == pytest.approx(expected)
    assert np.isnan(metrics.weighted_f1(np.zeros(3, bool), np.ones(3, bool), np.ones((1, 3))))[0]


def test_auc_without_positives_is_undefined():
    assert np.isnan(metrics.weighted_auc(np.zeros(3, bool), np.arange(3.0), np.ones((1, 3))))[0]


def test_a_weighted_mean_counts_an_image_as_often_as_its_weight():
    assert metrics.weighted_mean(np.array([1.0, 4.0]), np.array([[1, 1], [2, 1.0]])) == pytest.approx([2.5, 2.0])


def scored(*, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    is_positive = rng.random(60) < 0.3
    score = is_positive + rng.normal(size=60)
    return is_positive, score.round(0 if ties else 6)


@pytest.mark.parametrize("ties", [False, True])
def test_the_roc_curve_contains_every_point_of_scikit_learn(ties: bool):
    is_positive, score = scored(ties=ties)
    alarms, hits, _ = roc_curve(is_positive, score, drop_intermediate=False)
    top = [hits[alarms == alarm].max() for alarm in alarms]
    assert metrics.roc(is_positive, score, alarms) == pytest.approx(top)
    fine = np.linspace(0, 1, 200_001)
    area = np.trapezoid(metrics.roc(is_positive, score, fine), fine)
    assert area == pytest.approx(roc_auc_score(is_positive, score), abs=1e-4)


@pytest.mark.parametrize("ties", [False, True])
def test_precision_at_a_recall_is_that_of_the_highest_threshold_with_it(ties: bool):
    is_positive, score = scored(ties=ties)
    precision, recall, _ = precision_recall_curve(is_positive, score)
    reached = recall[:-1]  # the last point of the library has no threshold
    expected = [precision[:-1][reached >= level][-1] for level in reached]
    assert metrics.precision_recall(is_positive, score, reached) == pytest.approx(expected)
    assert metrics.precision_recall(is_positive, score, np.array([0.0]))[0] == precision[:-1][reached >= 0][-1]


def test_curves_without_positives_or_negatives_are_undefined():
    none, score, at = np.zeros(4, bool), np.arange(4.0), np.array([0.0, 0.5, 1.0])
    assert np.isnan(metrics.roc(none, score, at)).all()
    assert np.isnan(metrics.roc(~none, score, at)).all()
    assert np.isnan(metrics.precision_recall(none, score, at)).all()
    assert (metrics.precision_recall(~none, score, at) == 1).all()
