"""Every probe, as its `fit` returns it, against scikit-learn at the same strength on the same embeddings.

Strength: `l2` weighs the mean loss, scikit-learn's `alpha` and `1 / C` weigh the sum over images, so they are
`l2` times the number of images. BN's standardisation is done here by `StandardScaler`.
"""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from fabnet.probe_head import Crops, Samples, Settings
from fabnet.probes import action_units, classes, neighbours, points, pose, pose_neighbours

Array = NDArray[np.float64]

STRENGTHS = pytest.mark.parametrize("l2", [1e-3, 1e-1, 10.0])
COUNTS = pytest.mark.parametrize("count", [20, 300], ids=["fewer images than dimensions", "more"])
DIMS = 24
ROUNDED = 1e-4  # outputs of a head of float32 weights whose optimum is found in float64


def embeddings(count: int, seed: int) -> Tensor:
    """Dimensions of different scales that repeat each other, far from zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, DIMS, generator=generator, dtype=torch.float64) * torch.logspace(0, -1, DIMS).double()
    mixing = torch.linalg.qr(torch.randn(DIMS, DIMS, generator=torch.Generator().manual_seed(9), dtype=torch.float64)).Q
    return x @ mixing + 2


def scaled(x: Tensor, *others: Tensor) -> list[Array]:
    """All of them standardised by the mean and the deviation of the first."""
    scaler = StandardScaler().fit(x.numpy())
    return [np.asarray(scaler.transform(each.numpy())) for each in (x, *others)]


def settings(l2: float = 1.0) -> Settings:
    return Settings(l2=[l2], max_iter=300, neighbours=7)


def labelled(x: Tensor, seed: int, columns: int = 3) -> Tensor:
    """Labels 0 or 1 that follow from the embeddings with noise, each column with both."""
    noisy = x.numpy()[:, :columns] + 0.3 * np.random.default_rng(seed).normal(size=(len(x), columns))
    return torch.from_numpy((noisy > np.quantile(noisy, 0.6, axis=0)).astype(np.float64))


def logistic(l2: float, z: Array, truth: Array) -> LogisticRegression:
    found = LogisticRegression(C=1 / (l2 * len(z)), solver="newton-cholesky", tol=1e-12, max_iter=1000)
    return found.fit(z, truth)


def logits(scores: Tensor) -> Array:
    return scores.logit().numpy()


@STRENGTHS
@COUNTS
@pytest.mark.parametrize("probe", [points, pose])
def test_regressions_are_ridge_regressions(probe, l2, count):
    x, new = embeddings(count, 1), embeddings(50, 2)
    y = x[:, :3] + 0.2 * embeddings(count, 3)[:, :3]
    z, z_new = scaled(x, new)
    ridge = Ridge(alpha=l2 * count).fit(z, y.numpy())
    found = probe.fit(Samples(x, y), Samples(x, y), settings(l2))
    assert found.predict(new).numpy() == pytest.approx(ridge.predict(z_new), abs=ROUNDED)


@STRENGTHS
@COUNTS
def test_classes_are_logistic_regressions_one_against_the_rest(l2, count):
    x, new = embeddings(count, 1), embeddings(50, 2)
    y = labelled(x, 3)
    z, z_new = scaled(x, new)
    found = logits(classes.fit(Samples(x, y), Samples(x, y), settings(l2)).predict(new))
    for column in range(3):
        expected = logistic(l2, z, y[:, column].numpy()).decision_function(z_new)
        assert found[:, column] == pytest.approx(expected, abs=ROUNDED)


@STRENGTHS
@COUNTS
def test_action_units_are_logistic_regressions_on_the_images_where_they_are_known(l2, count):
    """But for one number a unit, the threshold that is moved into the head."""
    x, new = embeddings(count, 1), embeddings(50, 2)
    y = labelled(x, 3)
    y[np.random.default_rng(4).random(y.shape) < 0.25] = action_units.UNKNOWN
    z, z_new = scaled(x, new)
    found = logits(action_units.fit(Samples(x, y), Samples(x, y), settings(l2)).predict(new))
    for unit in range(3):
        known = (y[:, unit] != action_units.UNKNOWN).numpy()
        expected = logistic(l2, z[known], y[known, unit].numpy()).decision_function(z_new)
        moved = found[:, unit] - expected
        assert moved == pytest.approx(np.full(len(new), moved.mean()), abs=ROUNDED)


def test_a_probe_of_another_strength_would_be_told():
    x, new = embeddings(300, 1), embeddings(50, 2)
    y = labelled(x, 3)
    z, z_new = scaled(x, new)
    found = logits(classes.fit(Samples(x, y), Samples(x, y), settings(0.1)).predict(new))[:, 0]
    other = logistic(0.11, z, y[:, 0].numpy()).decision_function(z_new)
    assert np.abs(found - other).max() > 100 * ROUNDED


@pytest.mark.parametrize("count", [5, 60, 300])
def test_neighbours_are_the_nearest_ones_by_the_angle_around_the_mean(count):
    x, new = embeddings(count, 1), embeddings(50, 2)
    codes = np.arange(count) % 4
    y = torch.from_numpy(classes.encode(codes, Crops(np.ones((count, 2)), np.ones((count, 4))), 4))
    centre = x.mean(0).numpy()
    reference = KNeighborsClassifier(min(7, count), metric="cosine", algorithm="brute").fit(x.numpy() - centre, codes)
    expected = reference.predict_proba(new.numpy() - centre)
    for probe in (neighbours, pose_neighbours):
        found = probe.fit(Samples(x, y), Samples(x, y), settings()).predict(new)
        assert found.numpy() == pytest.approx(expected)
