import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fabnet.pretext.rotation import Params, Rotation, all_turns

OPENCV = [None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE]


def network() -> Rotation:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Rotation(Params(width=4, embedding=6), size_px=32)


def frames(count: int) -> Tensor:
    return torch.rand(count, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_rotations_agree_with_opencv():
    images, turns = all_turns(frames(3)[:, 0])
    assert turns.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for number, (image, turn) in enumerate(zip(images, turns, strict=True)):
        original = frames(3)[number % 3, 0].permute(1, 2, 0).numpy()
        expected = original if OPENCV[turn] is None else cv2.rotate(original, OPENCV[turn])
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_every_image_is_rotated_in_all_four_ways():
    net = network()
    seen: list[int] = []
    net.encoder.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    net.losses(frames(5))
    assert seen == [20]


def test_losses_agree_with_a_slow_softmax():
    net = network().eval()
    with torch.inference_mode():
        losses = net.losses(frames(3))
        wrong, surprise = 0, 0.0
        for image in frames(3)[:, 0]:
            for turn in range(4):
                embedding = net.encoder(image[None].rot90(turn, dims=(2, 3))).flatten(1)
                scores = net.classifier(embedding)[0].tolist()
                surprise += math.log(sum(math.exp(score) for score in scores)) - scores[turn]
                wrong += max(scores) > scores[turn]
    assert losses["loss"].item() == pytest.approx(surprise / 12, abs=1e-5)
    assert losses["accuracy"].item() == pytest.approx(1 - wrong / 12)


def test_a_few_steps_on_an_image_with_an_obvious_top_learn_its_rotations():
    net = network()
    light = torch.linspace(0, 1, 32)[:, None].expand(4, 1, 3, 32, 32)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        losses = net.losses(light)
        losses["loss"].backward()
        optimiser.step()
    assert losses["accuracy"] == 1
