import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fabnet.pretext.tcae import AU, POSE, TCAE, Params, problem

PARAMS = Params(width=4, embedding=6, reconstruction=10.0, cycle=1.0, consistency=2.0, sparsity=0.1)
TERMS = ("reconstruction", "cycle", "consistency", "sparsity")


def network(params: Params = PARAMS, *, size_px: int = 32) -> TCAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TCAE(params, size_px=size_px)


def frames(count: int, size_px: int = 32) -> Tensor:
    return torch.rand(count, 2, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def slow_warp(image: Tensor, flow: Tensor) -> Tensor:
    """(3, S, S) sampled pixel by pixel where the flow (2, S, S) points, bilinear, held within the image."""
    side = image.shape[-1]
    result = torch.zeros_like(image)
    values, offsets = image.tolist(), flow.tolist()
    for row in range(side):
        for column in range(side):
            place = [-1 + 2 * column / (side - 1) + offsets[0][row][column]]
            place.append(-1 + 2 * row / (side - 1) + offsets[1][row][column])
            x, y = ((min(max(value, -1), 1) + 1) / 2 * (side - 1) for value in place)
            left, top = min(int(x), side - 2), min(int(y), side - 2)
            for colour, plane in enumerate(values):
                upper = plane[top][left] * (left + 1 - x) + plane[top][left + 1] * (x - left)
                lower = plane[top + 1][left] * (left + 1 - x) + plane[top + 1][left + 1] * (x - left)
                result[colour, row, column] = upper * (top + 1 - y) + lower * (y - top)
    return result


def parts(net: TCAE, image: Tensor) -> list[Tensor]:
    """AU and pose part of one image."""
    return list(net.encoder(image[None]).flatten().chunk(2))


def motion(net: TCAE, part: int, start: list[Tensor], end: list[Tensor]) -> Tensor:
    """(3, S, S): flow and confidence."""
    return net.movers[part](torch.cat([start[part], end[part]])[None, :, None, None])[0]


def l1(one: Tensor, other: Tensor) -> float:
    return sum(abs(a - b) for a, b in zip(one.flatten().tolist(), other.flatten().tolist(), strict=True)) / one.numel()


def l2(one: Tensor, other: Tensor) -> float:
    return sum((a - b) ** 2 for a, b in zip(one.tolist(), other.tolist(), strict=True)) / len(one)


def slow_terms(net: TCAE, target: Tensor, source: Tensor) -> list[float]:
    """The four terms of one sample, in the order of TERMS."""
    of_target, of_source = parts(net, target), parts(net, source)
    to_target = [motion(net, part, of_source, of_target) for part in (AU, POSE)]
    moved = torch.zeros_like(to_target[AU][:2])
    for row in range(moved.shape[1]):
        for column in range(moved.shape[2]):
            shares = [math.exp(maps[2, row, column]) for maps in to_target]
            for axis in (0, 1):
                offsets = [maps[axis, row, column] for maps in to_target]
                mean = sum(a * b for a, b in zip(shares, offsets, strict=True)) / sum(shares)
                moved[axis, row, column] = mean
    cycle = consistency = 0.0
    for part in (AU, POSE):
        changed = slow_warp(source, to_target[part][:2])
        of_changed = parts(net, changed)
        other = 1 - part
        consistency += l2(of_changed[part], of_target[part]) + l2(of_changed[other], of_source[other])
        cycle += l1(slow_warp(changed, motion(net, part, of_changed, of_source)[:2]), source)
    sparsity = l1(to_target[AU][:2], torch.zeros_like(moved))
    return [l1(slow_warp(source, moved), target), cycle, consistency, sparsity]


def test_every_term_agrees_with_loops_over_samples_and_pixels():
    net, batch = network().double().eval(), frames(2).double()
    with torch.inference_mode():
        losses = net.losses(batch)
        slow = torch.tensor([slow_terms(net, *sample) for sample in batch], dtype=torch.float64).mean(dim=0)
    for name, expected in zip(TERMS, slow.tolist(), strict=True):
        assert expected > 1e-6, name
        assert losses[name].item() == pytest.approx(expected, rel=1e-6), name
    assert losses["loss"].item() == pytest.approx(float(slow @ torch.tensor([10.0, 1.0, 2.0, 0.1]).double()), rel=1e-6)
    assert losses["copy"].item() == pytest.approx(l1(batch[:, 1], batch[:, 0]))


@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_the_loss_is_finite_at_every_size(size_px: int):
    assert network(size_px=size_px).losses(frames(2, size_px))["loss"].isfinite()


def test_gradients_reach_every_weight():
    net = network()
    net.losses(frames(3))["loss"].backward()
    gradients = {name: weight.grad for name, weight in net.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []


def test_each_view_is_normalised_on_its_own():
    net, other = network(), network()
    batch = frames(3)
    with torch.no_grad():
        together = net.encode(batch.transpose(0, 1))
        apart = torch.stack([other.encoder(batch[:, view]).flatten(1).unflatten(1, (2, -1)) for view in (0, 1)])
    torch.testing.assert_close(together, apart)


def test_each_flow_follows_from_its_own_part():
    net = network().eval()
    with torch.inference_mode():
        target, source = net.encode(frames(2).transpose(0, 1))
        swapped = torch.stack([target[:, AU], source[:, POSE]], dim=1)
        assert torch.equal(net.move(AU, source, swapped)[0], net.move(AU, source, target)[0])
        assert torch.equal(net.move(POSE, source, swapped)[0], net.move(POSE, source, source)[0])


def test_the_parts_share_the_embedding():
    assert network().parts == {"au": (0, 3), "pose": (3, 6)}


def test_an_odd_embedding_is_refused():
    assert problem(PARAMS) is None
    assert problem(replace(PARAMS, embedding=7)) == "embedding should be even, found 7"


def test_a_few_steps_bring_the_loss_down():
    """Of images that differ from each other by a shift."""
    net = network()
    waves = torch.nn.functional.interpolate(frames(6, 5)[:, 0], (32, 32), mode="bicubic").clamp(0, 1)
    batch = torch.stack([waves, waves.roll(4, dims=3)], dim=1)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    history: list[float] = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = net.losses(batch)["loss"]
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.8 * history[0]
