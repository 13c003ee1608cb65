import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fabnet.pretext import masked_autoencoder
from fabnet.pretext.masked_autoencoder import MaskedAutoencoder, Params

PARAMS = Params(width=8, embedding=12, heads=2, blocks=2, decoder_blocks=1, patches=4, seen=4)


def network(params: Params = PARAMS, *, size_px: int = 32) -> MaskedAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskedAutoencoder(params, size_px=size_px)


def frames(count: int, size_px: int = 32) -> Tensor:
    return torch.rand(count, 1, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def slow_loss(predicted: Tensor, frame: Tensor, hidden: list[int], side_px: int) -> float:
    """Predictions (N, 3 * side_px^2) of one frame (3, S, S) -> mean over hidden patches, pixel by pixel."""
    values, total, across = frame.tolist(), 0.0, frame.shape[-1] // side_px
    for patch in hidden:
        top, left = patch // across * side_px, patch % across * side_px
        pixels = [
            values[colour][top + y][left + x] for colour in range(3) for y in range(side_px) for x in range(side_px)
        ]
        mean = sum(pixels) / len(pixels)
        variance = sum((pixel - mean) ** 2 for pixel in pixels) / (len(pixels) - 1)
        wanted = [(pixel - mean) / math.sqrt(variance + 1e-6) for pixel in pixels]
        errors = [(a - b) ** 2 for a, b in zip(predicted[patch].tolist(), wanted, strict=True)]
        total += sum(errors) / len(errors)
    return total / len(hidden)


def test_the_loss_agrees_with_a_loop_over_hidden_patches():
    net, batch = network().double().eval(), frames(3).double()
    with torch.inference_mode():
        losses = net.losses(batch)
        order = net.draws(3, 16).argsort(dim=1)
        slow = [
            slow_loss(net.predict(frame, order[n : n + 1])[0], frame[0], order[n, 4:].tolist(), 8)
            for n, frame in enumerate(batch)
        ]
    assert losses["loss"].item() == pytest.approx(sum(slow) / 3, rel=1e-6)


def test_hidden_patches_do_not_change_the_prediction():
    net, frame = network().eval(), frames(1)[:, 0]
    order = torch.tensor([[5, 0, 10, 3, 1, 2, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15]])
    hidden, seen = frame.clone(), frame.clone()
    hidden[..., 24:, 24:] = 0  # patch 15
    seen[..., 8:16, 8:16] = 0  # patch 5
    with torch.inference_mode():
        expected = net.predict(frame, order)
        assert torch.equal(net.predict(hidden, order), expected)
        assert not torch.allclose(net.predict(seen, order), expected)


def test_a_patch_keeps_its_place_when_others_are_hidden():
    """What the decoder gets does not depend on the order in which the seen patches are named."""
    net, frame = network().eval(), frames(1)[:, 0]
    order = torch.arange(16)[None]
    turned = torch.cat([order[:, :4].flip(1), order[:, 4:].flip(1)], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(net.predict(frame, turned), net.predict(frame, order))


def test_a_quarter_of_the_patches_is_seen_and_others_in_each_step():
    net = network()
    assert (net.patches, net.seen) == (16, 4)
    orders = torch.stack([net.draws(8, 16).argsort(dim=1)[:, :4] for _ in range(50)])
    share = torch.bincount(orders.flatten(), minlength=16) / orders.numel()
    assert ((share - 1 / 16).abs() < 0.02).all()


def test_validation_hides_the_same_patches_every_time():
    net = network().eval()
    assert net.losses(frames(4)) == net.losses(frames(4))


def test_the_embedding_is_the_mean_of_all_tokens():
    net, batch = network().eval(), frames(2)[:, 0]
    with torch.inference_mode():
        tokens = net.patched.blocks(net.patched.tokens(batch))
        torch.testing.assert_close(net.encoder(batch), sum(tokens.unbind(1)) / 16)


@pytest.mark.parametrize("dims", [4, 6, 7])
def test_every_place_has_its_own_code(dims: int):
    codes = masked_autoencoder.places(8, dims)
    assert codes.shape == (64, dims)
    assert torch.cdist(codes, codes).fill_diagonal_(1).min() > 1e-3


@pytest.mark.parametrize("size_px", [32, 64, 128, 256])
def test_every_size_has_as_many_patches(size_px: int):
    net = network(size_px=size_px)
    assert net.patched.tokens(frames(2, size_px)[:, 0]).shape == (2, 16, 12)
    assert net.losses(frames(2, size_px))["loss"].isfinite()


def test_gradients_reach_every_weight():
    net = network()
    net.losses(frames(3))["loss"].backward()
    gradients = {name: weight.grad for name, weight in net.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patches": 14}, "patches should be 2, 4, 8, 16 or 32 along a side, found 14"),
        ({"seen": 1}, "seen should lie between 2 and 16, the number of patches, found 1"),
        ({"seen": 17}, "seen should lie between 2 and 16, the number of patches, found 17"),
        ({"heads": 3}, "heads should divide embedding and width, 12 and 8, found 3"),
    ],
)
def test_patches_and_heads_that_do_not_divide_are_refused(changes: dict[str, int], said: str):
    assert masked_autoencoder.problem(PARAMS) is None
    assert masked_autoencoder.problem(replace(PARAMS, **changes)) == said


def test_a_few_steps_bring_the_loss_down():
    net = network()
    waves = torch.linspace(0, 12, 32).sin().expand(4, 1, 3, 32, 32)  # the same stripes everywhere
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    history: list[float] = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = net.losses(waves)["loss"]
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.7 * history[0]
