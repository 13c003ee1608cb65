import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from fabnet.pretext.temporal_ranking import Params, TemporalRanking, build, problem, ranking, to_first

PARAMS = Params(width=4, embedding=6, sequence=4, gap=2, margin=0.03)


def network(*, passes: int = 0) -> TemporalRanking:
    """After some passes in training mode BN has statistics that tell noise apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(PARAMS, size_px=32)
    assert isinstance(net, TemporalRanking)
    for _ in range(passes):
        net.losses(frames(4))
    return net


def frames(count: int) -> Tensor:
    return torch.rand(count, PARAMS.sequence, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def unit(row: list[float]) -> list[float]:
    return [value / math.sqrt(sum(other**2 for other in row)) for value in row]


def slow_loss(samples: list[list[list[float]]], margin: float) -> float:
    """Sum over the triplets of each sample, number by number; mean over samples."""
    total = 0.0
    for sample in samples:
        anchor, *others = map(unit, sample)
        for earlier, later in pairwise(others):
            to_earlier = sum((a - b) ** 2 for a, b in zip(anchor, earlier, strict=True))
            to_later = sum((a - b) ** 2 for a, b in zip(anchor, later, strict=True))
            total += max(0.0, to_earlier - to_later + margin)
    return total / len(samples)


@torch.inference_mode()
def test_the_loss_agrees_with_a_slow_reference():
    embeddings = torch.randn(5, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = slow_loss(embeddings.tolist(), 0.3)
    assert ranking(to_first(embeddings), 0.3).mean().item() == pytest.approx(expected, abs=1e-9)


@torch.inference_mode()
def test_the_network_embeds_every_frame_of_a_sample_by_itself():
    net, batch = network(passes=30).eval(), frames(3)
    embeddings = torch.stack([net.encoder(batch[:, place]).flatten(1) for place in range(PARAMS.sequence)], dim=1)
    expected = slow_loss(embeddings.tolist(), PARAMS.margin)
    assert net.losses(batch)["loss"].item() == pytest.approx(expected, abs=1e-6)
    assert slow_loss(embeddings.flip(1).tolist(), PARAMS.margin) != pytest.approx(expected, abs=1e-3)


def test_distances_that_grow_by_the_margin_cost_nothing():
    distances = torch.tensor([[0.1, 0.2, 0.35], [0.3, 0.2, 0.1]], dtype=torch.float64)
    assert ranking(distances, 0.1).tolist() == pytest.approx([0.0, 0.4])


def test_the_scale_of_an_embedding_does_not_matter():
    embeddings = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(1))
    scale = torch.rand(5, 4, 1, generator=torch.Generator().manual_seed(2)) + 0.5
    torch.testing.assert_close(to_first(embeddings * scale), to_first(embeddings))


def test_its_gradient_agrees_with_differences():
    embeddings = torch.randn(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: ranking(to_first(x), 0.3), embeddings.requires_grad_())


def test_a_few_steps_put_frames_in_order():
    net, batch = network(), frames(8)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    before = net.losses(batch)
    for _ in range(40):
        optimiser.zero_grad()
        losses = net.losses(batch)
        losses["loss"].backward()
        optimiser.step()
    assert losses["accuracy"] > 0.9 > before["accuracy"]


def test_frames_are_chosen_in_order_with_the_gap():
    choice = network().choice
    assert (choice.frames, choice.by, choice.gap) == (4, "ordered", 2)


def test_too_few_frames_to_rank_are_a_problem():
    assert problem(PARAMS) is None
    assert problem(Params(4, 6, sequence=2, gap=1, margin=0.1)) == (
        "sequence should be at least 3 frames, an anchor and two to rank, found 2"
    )
    assert problem(Params(4, 6, sequence=3, gap=0, margin=0.1)) == "gap should be at least 1 frame, found 0"
