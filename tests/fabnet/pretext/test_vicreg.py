import math

import pytest
import torch
from torch import Tensor

from fabnet.pretext.vicreg import Params, VICReg, build

WEIGHTS = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}


def network(**weights: float) -> VICReg:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(Params(width=4, embedding=6, projection=5, **{**WEIGHTS, **weights}), size_px=32)
    assert isinstance(net, VICReg)
    return net


def frames(count: int) -> Tensor:
    return torch.rand(count, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def projections(count: int) -> tuple[Tensor, Tensor]:
    """Of different scale in every dimension, so that some spread too little and some enough."""
    pair = torch.randn(2, count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pair = pair * torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0])
    return pair[0], pair[0] + 0.3 * pair[1]


def slow_covariance(view: list[list[float]], i: int, j: int) -> float:
    means = [sum(row[k] for row in view) / len(view) for k in (i, j)]
    return sum((row[i] - means[0]) * (row[j] - means[1]) for row in view) / (len(view) - 1)


def slow_terms(first: Tensor, second: Tensor) -> dict[str, float]:
    """Equations 1 to 5 of the paper number by number; `variance` is the mean over both views."""
    views, (count, width) = (first.tolist(), second.tolist()), first.shape
    invariance = sum((a - b) ** 2 for one, other in zip(*views, strict=True) for a, b in zip(one, other, strict=True))
    variance = covariance = 0.0
    for view in views:
        for i in range(width):
            variance += max(0.0, 1 - math.sqrt(slow_covariance(view, i, i) + 1e-4)) / width / 2
            covariance += sum(slow_covariance(view, i, j) ** 2 for j in range(width) if j != i) / width
    return {"invariance": invariance / count / width, "variance": variance, "covariance": covariance}


@pytest.mark.parametrize("only", WEIGHTS)
def test_every_term_agrees_with_a_slow_reference(only: str):
    first, second = projections(7)
    loss = network(**{**dict.fromkeys(WEIGHTS, 0.0), only: 3.0}).criterion(first, ref_emb=second)
    expected = slow_terms(first, second)[only]
    assert expected > 0
    assert loss.item() == pytest.approx(3 * expected, abs=1e-6)


def test_the_loss_is_the_weighted_sum():
    first, second = projections(7)
    expected = sum(WEIGHTS[name] * term for name, term in slow_terms(first, second).items())
    assert network().criterion(first, ref_emb=second).item() == pytest.approx(expected, abs=1e-6)


def test_its_gradient_agrees_with_differences():
    first, second = (view.requires_grad_() for view in projections(4))
    criterion = network().criterion
    assert torch.autograd.gradcheck(lambda one, other: criterion(one, ref_emb=other), (first, second))


def test_both_frames_of_a_sample_are_its_views():
    net = network().eval()
    batch = frames(3)
    with torch.inference_mode():
        first, second = (net.projector(net.encoder(batch[:, view]).flatten(1)) for view in (0, 1))
        losses = net.losses(batch)
    assert losses["loss"].item() == pytest.approx(net.criterion(first, ref_emb=second).item(), abs=1e-4)
    assert losses["spread"].item() == pytest.approx((first.std(dim=0).mean() + second.std(dim=0).mean()).item() / 2)


def test_collapsed_embeddings_have_the_full_hinge_loss():
    same = torch.ones(4, 5, dtype=torch.float64)
    assert network().criterion(same, ref_emb=same).item() == pytest.approx(25 * (1 - math.sqrt(1e-4)))


def test_a_few_steps_spread_frames_out():
    net = network()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    before = net.losses(frames(8))
    for _ in range(40):
        optimiser.zero_grad()
        losses = net.losses(frames(8))
        losses["loss"].backward()
        optimiser.step()
    assert losses["loss"] < 0.7 * before["loss"]
    assert losses["spread"] > before["spread"]
