import math

import pytest
import torch
from torch import Tensor

from fabnet.modules.method import Method
from fabnet.pretext.contrastive import Contrastive, Params, build, matched


def network(*, temperature: float = 0.2) -> Contrastive:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(Params(width=4, embedding=6, projection=5, temperature=temperature), size_px=32)
    assert isinstance(net, Contrastive)
    return net


def frames(count: int) -> Tensor:
    return torch.rand(count, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def projections(count: int) -> tuple[Tensor, Tensor]:
    pair = torch.randn(2, count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return pair[0], pair[0] + 0.3 * pair[1]


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum() / one.norm() / other.norm()


def slow_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Equation 1 of SimCLR, a frame at a time."""
    views, count = [*first, *second], len(first)
    total = first.new_zeros(())
    for here, view in enumerate(views):
        partner = views[(here + count) % (2 * count)]
        others = [torch.exp(cosine(view, other) / temperature) for at, other in enumerate(views) if at != here]
        total = total - torch.log(torch.exp(cosine(view, partner) / temperature) / torch.stack(others).sum())
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_the_loss_agrees_with_a_slow_reference(temperature: float):
    first, second = projections(7)
    loss = network(temperature=temperature).criterion(first, second)
    assert loss.item() == pytest.approx(slow_nt_xent(first, second, temperature).item(), abs=1e-6)


def test_its_gradient_agrees_as_well():
    ours, slow = ([view.clone().requires_grad_() for view in projections(4)] for _ in range(2))
    network().criterion(*ours).backward()
    slow_nt_xent(*slow, 0.2).backward()
    for one, other in zip(ours, slow, strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6)


def test_collapsed_projections_give_log_of_2b_minus_1():
    same = torch.ones(4, 5, dtype=torch.float64)
    assert network().criterion(same, same).item() == pytest.approx(math.log(7))


def test_both_frames_of_a_sample_are_its_views():
    net = network().eval()
    batch = frames(3)
    with torch.inference_mode():
        first, second = (net.projector(net.encoder(batch[:, view]).flatten(1)) for view in (0, 1))
        assert net.losses(batch)["loss"].item() == pytest.approx(net.criterion(first, second).item(), abs=1e-5)
        swapped = net.losses(batch.flip(1))["loss"].item()
    assert swapped == pytest.approx(net.losses(batch)["loss"].item(), abs=1e-5)


def test_accuracy_counts_frames_whose_nearest_is_their_partner():
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    second = torch.tensor([[5.0, 0.1], [0.1, 2.0], [0.1, -1.0]])  # the last two are far apart
    assert matched(first, first).item() == 1
    assert matched(first, second).item() == pytest.approx(4 / 6)


def steps(net: Method, batch: Tensor, count: int) -> dict[str, Tensor]:
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = net.losses(batch)
    for _ in range(count):
        optimiser.zero_grad()
        losses = net.losses(batch)
        losses["loss"].backward()
        optimiser.step()
    return losses


def test_a_few_steps_find_partners_of_the_same_colour():
    colours = torch.rand(8, 1, 3, 1, 1, generator=torch.Generator().manual_seed(3)).expand(8, 2, 3, 32, 32)
    noisy = colours + 0.05 * torch.randn(8, 2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    assert steps(network(), noisy, 40)["accuracy"] > 0.9
