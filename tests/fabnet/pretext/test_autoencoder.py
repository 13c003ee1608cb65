import pytest
import torch
from torch import Tensor

from fabnet.pretext.autoencoder import Autoencoder, Params


def network(*, width: int = 4, embedding: int = 6) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Autoencoder(Params(width=width, embedding=embedding), size_px=32)


def frames(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_losses_agree_with_a_loop_over_pixels():
    net, batch = network().eval(), frames(2)
    with torch.inference_mode():
        losses, rebuilt = net.losses(batch), net.rebuild(batch[:, 0])
    target = batch[:, 0].double()
    differences = [(a - b).abs() for a, b in zip(rebuilt.flatten().tolist(), target.flatten(), strict=True)]
    assert losses["loss"].item() == pytest.approx(sum(map(float, differences)) / len(differences), abs=1e-6)
    halfway = (target[0] - target[1]).abs().mean() / 2  # the mean of two images is as far from one as from the other
    assert losses["mean_image"].item() == pytest.approx(halfway.item(), abs=1e-6)


@pytest.mark.parametrize(("bias", "colour"), [(-20.0, 0.0), (0.0, 0.5), (20.0, 1.0)])
def test_the_decoder_reaches_from_black_to_white(bias: float, colour: float):
    net = network().eval()
    last = net.decoder[-2]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, bias)
    assert torch.allclose(net.rebuild(frames(1)[:, 0]), torch.tensor(colour), atol=1e-6)


def test_nothing_but_the_embedding_reaches_the_decoder():
    net = network().eval()
    net.encoder.register_forward_hook(lambda module, given, embedding: torch.zeros_like(embedding))
    assert torch.equal(net.rebuild(frames(1)[:, 0]), net.rebuild(frames(1, seed=1)[:, 0]))


def test_a_few_steps_bring_the_loss_below_that_of_the_mean_image():
    net = network(width=8, embedding=16)
    colours = torch.rand(8, 1, 3, 1, 1, generator=torch.Generator().manual_seed(1)).expand(8, 1, 3, 32, 32)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        losses = net.losses(colours)
        losses["loss"].backward()
        optimiser.step()
    assert losses["loss"] < 0.5 * losses["mean_image"]
