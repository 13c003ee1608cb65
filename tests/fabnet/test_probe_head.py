import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor, nn

from fabnet.probe_head import Probe, Samples, Settings, fold_intercept
from fabnet.probes import classes, points

SWEEP = Settings(l2=[1e-4, 1e-2, 1.0], max_iter=200, neighbours=5)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def correlated(count: int, dims: int, seed: int) -> Tensor:
    """Embeddings whose dimensions repeat each other, as those of a network do; offsets far from zero."""
    spread = torch.logspace(0, -3, dims, dtype=torch.float64)
    mixing = torch.linalg.qr(noise(dims, dims, seed=99)).Q
    return noise(count, dims, seed=seed) * spread @ mixing + 3


def released_head(probe: Probe) -> nn.Sequential:
    """The layers as a user of the released heads would build them, filled from the exported weights."""
    state = probe.state()
    outputs, dims = state["1.weight"].shape
    head = nn.Sequential(nn.BatchNorm1d(dims), nn.Linear(dims, outputs, bias=False))
    head.load_state_dict(state, strict=False)
    return head.eval()


@pytest.mark.parametrize(("dims", "outputs"), [(16, 4), (16, 16), (16, 40), (1, 1)])
def test_a_planted_affine_map_is_recovered(dims: int, outputs: int):
    # 40 outputs of 16 dimensions cannot have any intercept without a bias: one direction has to give way
    reachable = outputs <= dims
    planted, offset = noise(outputs, dims, seed=1), noise(outputs, seed=2) + 5
    x, x_new = noise(300, dims, seed=3) + 2, noise(100, dims, seed=4) + 2
    settings = Settings(l2=[1e-9], max_iter=200, neighbours=5)
    probe = points.fit(Samples(x, x @ planted.T + offset), Samples(x_new, x_new @ planted.T + offset), settings)
    error = (probe.predict(x_new) - (x_new @ planted.T + offset)).abs().mean()
    assert error < (1e-4 if reachable else 1.0)


def test_many_outputs_of_few_factors_keep_their_intercept():
    # landmarks: 136 coordinates that follow 6 factors, around a mean shape
    factors, shape = noise(136, 6, seed=1) / 10, noise(136, seed=2)
    x = correlated(800, 64, seed=3)
    hidden = (x - 3) @ noise(64, 6, seed=4)
    y = hidden @ factors.T + shape + 1e-3 * noise(800, 136, seed=5)
    probe = points.fit(
        Samples(x[:600], y[:600]), Samples(x[600:], y[600:]), Settings(l2=[1e-6], max_iter=200, neighbours=5)
    )
    assert (probe.predict(x[600:]) - y[600:]).abs().mean() < 2e-3


def test_points_agree_with_ridge_regression():
    x, y = correlated(400, 32, seed=1), noise(400, 5, seed=2) + correlated(400, 32, seed=1)[:, :5]
    l2 = 1e-3
    probe = points.fit(Samples(x, y), Samples(x, y), Settings(l2=[l2], max_iter=200, neighbours=5))
    z = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    ridge = Ridge(alpha=l2 * len(x)).fit(z.numpy(), y.numpy())
    assert probe.predict(x).numpy() == pytest.approx(ridge.predict(z.numpy()), abs=1e-4)


def test_classes_agree_with_logistic_regression():
    x = correlated(400, 16, seed=1)
    y = (x[:, :3] + noise(400, 3, seed=2) > 3.5).double()
    l2 = 1e-2
    probe = classes.fit(Samples(x, y), Samples(x, y), Settings(l2=[l2], max_iter=200, neighbours=5))
    z = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    for k in range(3):
        reference = LogisticRegression(C=1 / (l2 * len(x)), solver="newton-cholesky", tol=1e-10).fit(z, y[:, k].numpy())
        assert probe.predict(x)[:, k].numpy() == pytest.approx(reference.predict_proba(z)[:, 1], abs=3e-6)


def test_exported_weights_give_the_same_predictions_in_float32():
    x, y = correlated(300, 64, seed=1), 0.1 * noise(300, 136, seed=2) + noise(136, seed=3)
    probe = points.fit(Samples(x, y), Samples(x, y), SWEEP)
    with torch.no_grad():
        exported = released_head(probe)(x.float())
    assert exported.numpy() == pytest.approx(probe.predict(x).numpy(), abs=2e-3)
    assert {name: tuple(value.shape) for name, value in probe.state().items()} == {
        "0.weight": (64,), "0.bias": (64,), "0.running_mean": (64,), "0.running_var": (64,), "1.weight": (136, 64),
    }  # fmt: skip


def test_the_chosen_l2_is_the_best_on_validation():
    x, y = noise(60, 40, seed=1), noise(60, 2, seed=2)
    x_val, y_val = noise(200, 40, seed=3), noise(200, 2, seed=4)
    probe = points.fit(Samples(x, y), Samples(x_val, y_val), SWEEP)
    assert sorted(probe.tried) == [1e-4, 1e-2, 1.0]
    assert probe.l2 == 1.0  # nothing to learn: the less, the better
    loss = (probe.predict(x_val) - y_val).square().sum(1).mean().item() / 2
    assert loss == pytest.approx(probe.tried[1.0].val_loss)


def test_the_sweep_tells_which_weights_did_not_converge():
    x, y = correlated(400, 16, seed=1), (noise(400, 3, seed=2) > 0).double()
    settings = Settings(l2=[1e-4, 1e-2, 1.0], max_iter=1, neighbours=5)
    tried = classes.fit(Samples(x, y), Samples(x, y), settings).tried
    assert {of.iterations for of in tried.values()} == {1}
    assert not tried[1e-4].is_converged
    assert all(of.is_converged for of in classes.fit(Samples(x, y), Samples(x, y), SWEEP).tried.values())


def test_fewer_images_than_dimensions_are_fitted_to_the_same_optimum():
    x, y = noise(20, 40, seed=1) + 2, noise(20, 3, seed=2)
    probe = points.fit(Samples(x, y), Samples(x, y), Settings(l2=[0.1], max_iter=200, neighbours=5))
    z = ((x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()).numpy()
    x_new = noise(30, 40, seed=3) + 2
    z_new = ((x_new - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()).numpy()
    ridge = Ridge(alpha=0.1 * len(x)).fit(z, y.numpy())
    assert probe.predict(x_new).numpy() == pytest.approx(ridge.predict(z_new), abs=1e-4)


def test_shuffled_labels_are_at_chance():
    x, x_new = noise(2000, 16, seed=1), noise(2000, 16, seed=2)
    y = (noise(2000, 1, seed=3) > 0).double()
    score = classes.fit(Samples(x, y), Samples(x_new, y), SWEEP).predict(x_new)[:, 0].numpy()
    right = np.mean((score > 0.5) == (y[:, 0].numpy() > 0.5))
    assert right == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_fewer_samples_than_dimensions_give_finite_predictions(count: int):
    x, y = noise(count, 32, seed=1), (noise(count, 8, seed=2) > 0).double()
    for probe in (classes, points):
        assert probe.fit(Samples(x, y), Samples(x, y), SWEEP).predict(noise(5, 32, seed=3)).isfinite().all()


def test_constant_dimensions_and_a_class_without_samples_are_harmless():
    x = correlated(200, 16, seed=1)
    x[:, 3:6] = 7.0
    y = torch.stack([(x[:, 0] > 3).double(), torch.zeros(200, dtype=torch.float64)], dim=1)
    scores = classes.fit(Samples(x, y), Samples(x, y), SWEEP).predict(x)
    assert ((scores[:, 0] > 0.5) == (y[:, 0] > 0.5)).double().mean() > 0.95
    assert (scores[:, 1] < 1e-3).all()


def test_fitting_twice_gives_the_same_weights():
    x, y = correlated(200, 16, seed=1), noise(200, 4, seed=2)
    first, second = (points.fit(Samples(x, y), Samples(x, y), SWEEP).state() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_folding_is_exact_for_every_shape():
    for outputs, dims in [(3, 8), (8, 3), (5, 5)]:
        linear, intercept, z = noise(outputs, dims, seed=1), noise(outputs, seed=2), noise(50, dims, seed=3)
        weight, shift = fold_intercept(linear, intercept, z.T @ z)
        assert (weight @ shift).numpy() == pytest.approx(intercept.numpy(), abs=1e-8)


def test_samples_without_rows_or_with_infinite_values_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Samples(noise(0, 4, seed=1), noise(0, 2, seed=2))
    with pytest.raises(ValueError, match="finite"):
        Samples(noise(1, 4, seed=1) / 0, noise(1, 2, seed=2))
