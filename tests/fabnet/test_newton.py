import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from fabnet.newton import Newton
from fabnet.probe_head import half_squared_error
from fabnet.probes import action_units
from fabnet.probes.action_units import UNKNOWN

L2 = [1.0, 1e-2, 1e-4]


def features(count: int, dims: int, seed: int) -> Tensor:
    """Standardised dimensions that repeat each other, and a column of ones."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, dims, generator=generator, dtype=torch.float64) * torch.logspace(0, -2, dims).double()
    mixing = torch.linalg.qr(torch.randn(dims, dims, generator=generator, dtype=torch.float64)).Q
    x = x @ mixing
    return torch.cat([(x - x.mean(0)) / x.std(0, correction=0), torch.ones(count, 1).double()], dim=1)


def units(z: Tensor, seed: int, unknown: float = 0.0) -> Tensor:
    """Five units from common to rare that follow from the features, with noise; a share of them is unknown."""
    rng = np.random.default_rng(seed)
    noisy = z[:, :5].numpy() + rng.normal(size=(len(z), 5))
    y = (noisy > np.quantile(noisy, [0.5, 0.7, 0.9, 0.95, 0.98], axis=0).diagonal()).astype(np.float64)
    y[rng.random(y.shape) < unknown] = UNKNOWN
    return torch.from_numpy(y)


def minima(z: Tensor, y: Tensor, loss=action_units.known_cross_entropy) -> dict[float, Tensor]:
    newton = Newton(z, y, loss, max_iter=100)
    return {l2: newton.minimum(l2).coefficients for l2 in L2}


@pytest.mark.parametrize("count", [150, 2000])
def test_units_have_the_optimum_that_scikit_learn_finds_for_each_alone(count: int):
    z = features(count, 80, seed=1)
    y = units(z, seed=2, unknown=0.3)
    for l2, found in minima(z, y).items():
        for unit in range(5):
            known = y[:, unit] != UNKNOWN
            inner, truth = z[known, :-1].numpy(), y[known, unit].numpy()
            alone = LogisticRegression(C=1 / (l2 * len(inner)), solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(
                inner, truth
            )
            outputs = (z[known] @ found[unit]).numpy()
            assert outputs == pytest.approx(alone.decision_function(inner), abs=1e-6)


def test_a_regression_has_the_optimum_of_ridge_regression():
    z = features(300, 40, seed=3)
    y = z[:, :7] @ torch.randn(7, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 2
    for l2, found in minima(z, y, half_squared_error).items():
        ridge = Ridge(alpha=l2 * len(z)).fit(z[:, :-1].numpy(), y.numpy())
        assert (z @ found.T).numpy() == pytest.approx(ridge.predict(z[:, :-1].numpy()), abs=1e-9)


def test_the_optimum_does_not_depend_on_the_weights_tried_before():
    z = features(400, 30, seed=5)
    y = units(z, seed=6)
    after_others = minima(z, y)[L2[-1]]
    at_once = Newton(z, y, action_units.known_cross_entropy, max_iter=100).minimum(L2[-1]).coefficients
    assert (z @ after_others.T).numpy() == pytest.approx((z @ at_once.T).numpy(), abs=1e-7)


def test_a_step_that_goes_too_far_is_halved():
    # far from its optimum this loss is flat: a whole Newton step from 0 would go past it to where it is flatter still
    def pseudo_huber(outputs: Tensor, y: Tensor) -> Tensor:
        return ((outputs - y).square() + 1).sqrt()

    z, y = torch.ones(3, 2, dtype=torch.float64), torch.full((3, 1), 50.0, dtype=torch.float64)
    z[:, 0] = 0
    found = Newton(z, y, pseudo_huber, max_iter=100).minimum(1.0).coefficients
    assert (z @ found.T).numpy() == pytest.approx(y.numpy(), abs=1e-6)


def test_a_unit_that_never_occurs_does_not_take_all_steps():
    passes: list[int] = []

    def counted(outputs: Tensor, y: Tensor) -> Tensor:
        passes.append(1)
        return action_units.known_cross_entropy(outputs, y)

    z = features(100, 20, seed=9)
    y = torch.cat([units(z, seed=10)[:, :1], torch.zeros(100, 1).double()], dim=1)
    newton = Newton(z, y, counted, max_iter=1000)
    found = [newton.minimum(l2).coefficients for l2 in L2]
    assert len(passes) < 200
    assert (z @ found[-1][1] < -20).all()


def test_too_few_steps_are_told():
    z = features(400, 30, seed=5)
    y = units(z, seed=6)
    few = Newton(z, y, action_units.known_cross_entropy, max_iter=2).minimum(1e-4)
    assert (few.iterations, few.is_converged) == (2, False)
    enough = Newton(z, y, action_units.known_cross_entropy, max_iter=100).minimum(1e-4)
    assert 2 < enough.iterations < 100
    assert enough.is_converged
