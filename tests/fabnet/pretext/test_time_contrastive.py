import math

import pytest
import torch
from torch import Tensor

from fabnet.pretext.time_contrastive import Params, TimeContrastive, build, problem, similarities

PARAMS = Params(width=4, embedding=6, projection=5, temperature=0.2, gap=2)


def network(*, passes: int = 0) -> TimeContrastive:
    """After some passes in training mode BN has statistics that tell noise apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(PARAMS, size_px=32)
    assert isinstance(net, TimeContrastive)
    for _ in range(passes):
        net.losses(frames(4))
    return net


def frames(count: int) -> Tensor:
    return torch.rand(count, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def projected(net: TimeContrastive, batch: Tensor) -> list[list[list[float]]]:
    """Anchors, near and far frames, each encoded on its own."""
    return [net.projector(net.encoder(batch[:, view]).flatten(1)).tolist() for view in range(3)]


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(b * b for b in other))


def slow_loss(anchors: list[list[float]], nears: list[list[float]], fars: list[list[float]]) -> float:
    """Cross entropy of every anchor and near frame, number by number."""
    total, count = 0.0, len(anchors)
    for own, others in ((anchors, nears), (nears, anchors)):
        for index, query in enumerate(own):
            siblings = [own[other] for other in range(count) if other != index]
            scores = [math.exp(cosine(query, other) / PARAMS.temperature) for other in [*siblings, *others, *fars]]
            total -= math.log(math.exp(cosine(query, others[index]) / PARAMS.temperature) / sum(scores))
    return total / (2 * count)


def test_the_loss_agrees_with_a_slow_reference():
    views = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cosines, partner = similarities(*torch.nn.functional.normalize(views, dim=-1))
    loss = torch.nn.functional.cross_entropy(cosines / PARAMS.temperature, partner)
    assert loss.item() == pytest.approx(slow_loss(*views.tolist()), abs=1e-9)


@torch.inference_mode()
def test_the_views_are_the_anchor_the_near_and_the_far_frame():
    net, batch = network(passes=30).eval(), frames(4)
    assert net.losses(batch)["loss"].item() == pytest.approx(slow_loss(*projected(net, batch)), abs=1e-5)


@torch.inference_mode()
def test_anchor_and_near_frame_may_change_places_and_the_far_frame_may_not():
    net, batch = network(passes=30).eval(), frames(4)
    loss, swapped, other = (net.losses(batch[:, order])["loss"].item() for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1]))
    assert swapped == pytest.approx(loss, abs=1e-5)
    assert abs(other - loss) > 1e-3


def test_a_far_frame_that_looks_like_the_anchor_costs_more_than_one_that_does_not():
    anchor, near, far = torch.eye(3).unbind()
    pair = torch.stack([anchor, near])  # two samples
    alike, apart = (
        torch.nn.functional.cross_entropy(*similarities(pair, pair, torch.stack([seen, far]))) for seen in (anchor, far)
    )
    assert alike > apart + 0.1


def test_accuracies_are_one_where_anchors_match_their_near_frames_alone():
    net = network().eval()
    batch = frames(4)
    batch[:, 1] = batch[:, 0]
    with torch.inference_mode():
        losses = net.losses(batch)
    assert losses["accuracy"] == losses["nearer"] == 1


def test_a_few_steps_find_the_near_frames():
    net, batch = network(), frames(8)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    before = net.losses(batch)["loss"].item()
    for _ in range(30):
        optimiser.zero_grad()
        losses = net.losses(batch)
        losses["loss"].backward()
        optimiser.step()
    assert losses["loss"].item() < 0.6 * before
    assert losses["nearer"] == 1


def test_tracks_need_a_frame_beyond_the_gap():
    assert network().choice.shortest == PARAMS.gap + 2


def test_a_gap_of_no_frame_is_a_problem():
    assert problem(PARAMS) is None
    assert problem(Params(4, 6, 5, 0.2, gap=0)) == "gap should be at least 1 frame, found 0"


def test_a_temperature_of_zero_is_a_problem():
    assert problem(Params(4, 6, 5, 0.0, gap=2)) == "temperature should be above 0, found 0"
