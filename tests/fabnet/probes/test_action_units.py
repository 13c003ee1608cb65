import numpy as np
import pytest
import torch
from probe_problems import first_problems
from sklearn.metrics import f1_score

from fabnet import metrics
from fabnet.probe_head import Crops, Samples, Settings
from fabnet.probes import action_units

CROPS = Crops(np.full((2, 2), 256.0), np.zeros((2, 4)))
SETTINGS = Settings([1e-3, 1e-1], 100, 5)


def planted(count: int, seed: int, unknown: float = 0.0) -> Samples:
    """Three units that follow from the embedding, the second one rare; a share of the targets is unknown."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 6))
    y = (x[:, :3] + 0.3 * rng.normal(size=(count, 3)) > [0, 1.3, -0.5]).astype(float)
    y[rng.random(y.shape) < unknown] = action_units.UNKNOWN
    return Samples(torch.from_numpy(x), torch.from_numpy(y))


def test_unknown_units_differ_from_absent_ones():
    y = action_units.encode(np.array([[0, np.nan, 1], [1, 0, 0]]), CROPS, 3)
    assert y[0].tolist() == [0, action_units.UNKNOWN, 1]
    decoded = action_units.decode(y, CROPS)
    assert np.isnan(decoded[0, 1])
    assert decoded[1].tolist() == [1, 0, 0]


def test_labels_that_cannot_be_used_are_a_problem():
    unknown = np.nan
    assert first_problems(action_units, [[0, unknown, 1], [unknown] * 3, [0, 2, 1]], 3) == [
        None,
        ("no action unit is known", ""),
        ("an action unit is neither 0 nor 1 nor unknown", ""),
    ]
    assert first_problems(action_units, [[0, 1]], 3) == [("expected 3 action units", "found 2")]


def test_the_output_for_an_unknown_target_does_not_matter():
    outputs = torch.randn(8, 3, dtype=torch.float64)
    y = planted(8, 1, unknown=0.4).y
    changed = torch.where(y == action_units.UNKNOWN, 5.0, outputs)
    assert torch.equal(action_units.known_cross_entropy(outputs, y), action_units.known_cross_entropy(changed, y))


def test_a_rarely_labelled_unit_counts_as_much_as_the_others():
    outputs, y = torch.zeros(10, 2, dtype=torch.float64), torch.ones(10, 2, dtype=torch.float64)
    y[2:, 1] = action_units.UNKNOWN
    losses = action_units.known_cross_entropy(outputs, y).mean(0)
    assert losses[0].item() == pytest.approx(losses[1].item())


def test_planted_units_are_found_although_a_third_is_unknown():
    probe = action_units.fit(planted(600, 1, unknown=0.35), planted(300, 2, unknown=0.35), SETTINGS)
    test = planted(400, 3)
    found = probe.predict(test.x).numpy() > 0.5
    assert all(f1_score(test.y[:, unit].numpy(), found[:, unit]) > 0.75 for unit in range(3))


def test_the_decision_at_a_half_is_the_best_one_on_validation():
    train, val = planted(400, 1), planted(200, 2)
    scores = action_units.fit(train, val, SETTINGS).predict(val.x).numpy()
    for unit in range(3):
        truth = val.y[:, unit].numpy()
        every = [f1_score(truth, scores[:, unit] > cut) for cut in np.unique(scores[:, unit])[:-1]]
        assert f1_score(truth, scores[:, unit] > 0.5) == pytest.approx(max(every), abs=1e-9)


def test_the_best_threshold_agrees_with_a_search_over_all():
    rng = np.random.default_rng(4)
    for _ in range(20):
        truth, scores = rng.random(30) < 0.3, rng.integers(0, 8, 30).astype(float)
        best = metrics.best_threshold(truth, scores)
        every = [f1_score(truth, scores > cut) for cut in np.arange(-0.5, 7.5)]
        assert f1_score(truth, scores > best) == pytest.approx(max(every))
    assert np.isnan(metrics.best_threshold(np.zeros(3, bool), np.arange(3.0)))


def test_a_unit_without_a_positive_on_validation_keeps_its_own_threshold():
    val = planted(100, 2)
    val.y[:, 0] = 0
    shifts = action_units._to_thresholds(torch.randn(100, 3, dtype=torch.float64), val.y)
    assert shifts[0] == 0
    assert (shifts[1:] != 0).all()
