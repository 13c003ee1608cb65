import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from fabnet.pretext.split_brain import AB_CLASSES, L_CLASSES, Params, SplitBrain, classes, problem, split

Target = Literal["regression", "classes"]
each_target = pytest.mark.parametrize("target", ["regression", "classes"])


def network(target: Target, *, width: int = 4, embedding: int = 6) -> SplitBrain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SplitBrain(Params(width=width, embedding=embedding, target=target), size_px=32)


def frames(count: int) -> Tensor:
    return torch.rand(count, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lab(lightness: float, a: float, b: float) -> tuple[Tensor, Tensor]:
    """One pixel, scaled as the networks see it."""
    colour = torch.tensor([a, b], dtype=torch.float64) / 110
    return torch.full((1, 1, 1, 1), lightness / 50 - 1, dtype=torch.float64), colour[None, :, None, None]


def means(channels: Tensor) -> Tensor:
    """Of squares of 4 x 4 pixels, one by one."""
    count, depth, height, width = channels.shape
    squares = [
        channels[n, c, y : y + 4, x : x + 4].mean()
        for n in range(count) for c in range(depth) for y in range(0, height, 4) for x in range(0, width, 4)
    ]  # fmt: skip
    return torch.stack(squares).view(count, depth, height // 4, width // 4)


def surprise(scores: Tensor, truth: Tensor) -> float:
    """Mean cross-entropy, pixel by pixel."""
    per_pixel = scores.permute(0, 2, 3, 1).reshape(-1, scores.shape[1]).double().tolist()
    losses = [
        math.log(sum(map(math.exp, pixel))) - pixel[number]
        for pixel, number in zip(per_pixel, truth.flatten().tolist(), strict=True)
    ]
    return sum(losses) / len(losses)


@each_target
def test_the_embedding_concatenates_both_halves(target: Target):
    net = network(target, embedding=256).eval()
    images = frames(2)[:, 0]
    embedding = net.encoder(images)
    assert embedding.shape == (2, 256, 1, 1)
    lightness, colour = split(images)
    assert torch.equal(embedding[:, :128], net.halves.lightness(lightness))
    assert torch.equal(embedding[:, 128:], net.halves.colour(colour))


def test_the_first_half_ignores_colour_and_the_second_lightness():
    net = network("regression").eval()
    orange, blue, dark = (torch.tensor(rgb)[None, :, None, None].expand(1, 3, 32, 32) for rgb in
                          [(0.8, 0.4, 0.2), (0.2, 0.4, 0.8), (0.2, 0.2, 0.2)])  # fmt: skip
    bright = torch.full((1, 3, 32, 32), 0.9)
    assert not torch.allclose(net.encoder(orange)[:, 3:], net.encoder(blue)[:, 3:], atol=1e-4)
    assert torch.allclose(net.encoder(dark)[:, 3:], net.encoder(bright)[:, 3:], atol=1e-5)
    assert not torch.allclose(net.encoder(dark)[:, :3], net.encoder(bright)[:, :3], atol=1e-4)


def test_each_half_is_half_as_wide():
    net = network("regression", width=32, embedding=256)
    shapes = [tuple(layer.weight.shape) for layer in net.halves.colour if isinstance(layer, torch.nn.Conv2d)]
    assert shapes == [(16, 2, 4, 4), (32, 16, 4, 4), (64, 32, 4, 4), (128, 64, 4, 4), (128, 128, 4, 4)]


def test_regression_agrees_with_squared_differences():
    net, images = network("regression").eval(), frames(2)
    with torch.inference_mode():
        losses = net.losses(images)
        lightness, colour = split(images[:, 0])
        predicted_colour = net.to_colour.decoder(net.halves.lightness(lightness))
        predicted_lightness = net.to_lightness.decoder(net.halves.colour(colour))
    of_colour = sum(
        (a - b) ** 2 for a, b in zip(predicted_colour.flatten().tolist(), colour.flatten().tolist(), strict=True)
    )
    of_lightness = sum(
        (a - b) ** 2 for a, b in zip(predicted_lightness.flatten().tolist(), lightness.flatten().tolist(), strict=True)
    )
    assert losses["colour"].item() == pytest.approx(of_colour / colour.numel(), abs=1e-6)
    assert losses["lightness"].item() == pytest.approx(of_lightness / lightness.numel(), abs=1e-6)
    assert losses["loss"].item() == pytest.approx(losses["colour"].item() + losses["lightness"].item(), abs=1e-6)


def test_classification_agrees_with_a_slow_cross_entropy():
    net, images = network("classes").eval(), frames(2)
    with torch.inference_mode():
        losses = net.losses(images)
        lightness, colour = split(images[:, 0])
        of_colour = net.to_colour.scores(means(net.to_colour.decoder(net.halves.lightness(lightness))))
        of_lightness = net.to_lightness.scores(means(net.to_lightness.decoder(net.halves.colour(colour))))
    assert of_colour.shape == (2, AB_CLASSES**2, 8, 8)
    assert losses["colour"].item() == pytest.approx(surprise(of_colour, classes(means(colour))), abs=1e-5)
    assert losses["lightness"].item() == pytest.approx(surprise(of_lightness, classes(means(lightness))), abs=1e-5)


@pytest.mark.parametrize(
    ("lightness", "a", "b", "interval", "square"),
    [
        (0.0, -110.0, -110.0, 0, 0),
        (0.5, 0.5, -0.5, 0, 11 * 22 + 10),
        (49.5, -0.5, 0.5, 49, 10 * 22 + 11),
        (99.5, 98.2, 94.4, 99, 20 * 22 + 20),
        (100.0, 110.0, 110.0, 99, 21 * 22 + 21),
    ],
)
def test_classes_are_intervals_of_one_and_squares_of_ten(
    lightness: float, a: float, b: float, interval: int, square: int
):
    scaled_lightness, scaled_colour = lab(lightness, a, b)
    assert classes(scaled_lightness).item() == interval < L_CLASSES
    assert classes(scaled_colour).item() == square


@each_target
def test_a_few_steps_on_coloured_surfaces_learn_to_predict_each_half(target: Target):
    net = network(target, width=16, embedding=16)
    pair = torch.tensor([[0.9, 0.7, 0.6], [0.1, 0.2, 0.4]])[:, None, :, None, None].expand(2, 1, 3, 32, 32)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    before = net.losses(pair)["loss"].item()
    for _ in range(40):
        optimiser.zero_grad()
        net.losses(pair)["loss"].backward()
        optimiser.step()
    assert net.losses(pair)["loss"].item() < 0.4 * before


@pytest.mark.parametrize(("width", "embedding", "is_fine"), [(32, 256, True), (31, 256, False), (32, 255, False)])
def test_odd_sizes_are_a_problem(width: int, embedding: int, is_fine: bool):
    assert (problem(Params(width=width, embedding=embedding, target="regression")) is None) == is_fine
