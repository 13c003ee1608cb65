import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fabnet.pretext.imm import IMM, SIDE, Params, problem

PARAMS = Params(width=4, embedding=6, points=3, spread=0.1)


def network(*, size_px: int = 32) -> IMM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return IMM(PARAMS, size_px=size_px)


def frames(count: int, size_px: int = 32) -> Tensor:
    return torch.rand(count, 2, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def slow_points(heat: list[list[list[float]]]) -> list[list[float]]:
    """Heat maps (K, SIDE, SIDE) -> the expected place under each, x and y in [-1, 1]."""
    points: list[list[float]] = []
    for plane in heat:
        total = x = y = 0.0
        for row in range(SIDE):
            for column in range(SIDE):
                weight = math.exp(plane[row][column])
                total += weight
                x += weight * (-1 + 2 * column / (SIDE - 1))
                y += weight * (-1 + 2 * row / (SIDE - 1))
        points.append([x / total, y / total])
    return points


def slow_drawing(point: list[float], spread: float) -> Tensor:
    """(SIDE, SIDE) Gaussian at a point."""
    plane = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for row in range(SIDE):
        for column in range(SIDE):
            x, y = -1 + 2 * column / (SIDE - 1), -1 + 2 * row / (SIDE - 1)
            plane[row, column] = math.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * spread**2))
    return plane


def test_the_loss_agrees_with_loops_over_samples_and_pixels():
    net, batch = network().double().eval(), frames(2).double()
    total = 0.0
    with torch.inference_mode():
        losses = net.losses(batch)
        for target, source in batch:
            points = slow_points(net.bottleneck.geometry(target[None])[0].tolist())
            drawn = torch.stack([slow_drawing(point, PARAMS.spread) for point in points])
            maps = torch.cat([drawn, net.bottleneck.appearance(source[None])[0]])
            rebuilt = (net.decoder(maps[None])[0] + 1) / 2
            pixels = zip(rebuilt.flatten().tolist(), target.flatten().tolist(), strict=True)
            total += sum(abs(a - b) for a, b in pixels) / target.numel()
    assert losses["loss"].item() == pytest.approx(total / 2, rel=1e-6)
    assert losses["copy"].item() == pytest.approx((batch[:, 0] - batch[:, 1]).abs().mean().item())


def test_the_embedding_is_the_points_and_the_mean_appearance():
    net, batch = network().eval(), frames(2)[:, 0]
    with torch.inference_mode():
        embedding = net.encoder(batch)
        heat, looks = net.bottleneck.geometry(batch), net.bottleneck.appearance(batch)
    points, appearance = (embedding[:, slice(*net.parts[name])] for name in ("points", "appearance"))
    assert embedding.shape == (2, 2 * 3 + 6)
    for found, planes in zip(points, heat, strict=True):
        assert found.tolist() == pytest.approx(
            [value for point in slow_points(planes.tolist()) for value in point], abs=1e-5
        )
    torch.testing.assert_close(appearance, looks.flatten(2).mean(dim=2))


@pytest.mark.parametrize(("row", "column", "point"), [(0, 0, (-1, -1)), (15, 0, (-1, 1)), (0, 15, (1, -1))])
def test_a_sharp_peak_is_found_and_drawn_where_it_is(row: int, column: int, point: tuple[int, int]):
    net = network()
    heat = torch.zeros(1, 3, SIDE, SIDE)
    heat[:, :, row, column] = 50
    net.bottleneck.geometry = torch.nn.Identity()
    found = net.bottleneck.find(heat)
    assert found[0, 0].tolist() == pytest.approx(point)
    drawn = net.bottleneck.draw(found)[0, 0]
    assert drawn[row, column] == pytest.approx(1)
    assert drawn.argmax() == row * SIDE + column


def test_nothing_of_the_target_but_its_points_reaches_the_decoder():
    net = network().eval()
    (one, other), source = frames(2)[:, 0], frames(2)[:1, 1]
    with torch.inference_mode():
        points = net.bottleneck.find(one[None])
        net.bottleneck.find = lambda given: points
        assert net.losses(torch.stack([one[None], source], dim=1))["loss"] == pytest.approx(
            (net.rebuild(points, source) - one).abs().mean().item()
        )
        rebuilt = (net.rebuild(net.bottleneck.find(frame[None]), source) for frame in (one, other))
        assert torch.equal(*rebuilt)


@pytest.mark.parametrize("size_px", [32, 64, 128, 256])
def test_maps_have_one_size_for_every_frame(size_px: int):
    net = network(size_px=size_px)
    batch = frames(2, size_px)
    assert net.bottleneck.geometry(batch[:, 0]).shape == (2, 3, SIDE, SIDE)
    assert net.rebuild(torch.zeros(2, 3, 2), batch[:, 1]).shape == batch[:, 0].shape


def test_gradients_reach_every_weight():
    net = network(size_px=64)
    net.losses(frames(3, 64))["loss"].backward()
    gradients = {name: weight.grad for name, weight in net.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []


def test_no_points_and_points_without_a_size_are_refused():
    assert problem(PARAMS) is None
    assert problem(replace(PARAMS, points=0)) == "points should be at least 1, found 0"
    assert problem(replace(PARAMS, spread=0.0)) == "spread should be above 0, found 0"


def test_a_few_steps_bring_the_loss_down():
    net = network()
    batch = torch.rand(4, 2, 3, 1, 1, generator=torch.Generator().manual_seed(1)).expand(4, 2, 3, 32, 32).clone()
    batch[:, 0] = batch[:, 1]
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    history: list[float] = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = net.losses(batch)["loss"]
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.7 * history[0]
