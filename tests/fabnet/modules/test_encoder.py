import pytest
import torch
from torch import nn

from fabnet.modules.encoder import Encoder, depth

SIZES = [32, 64, 128, 256]


@pytest.mark.parametrize("size_px", SIZES)
def test_a_frame_becomes_one_embedding(size_px: int):
    encoder = Encoder(size_px=size_px, width=4, embedding=6)
    assert encoder(torch.rand(2, 3, size_px, size_px)).shape == (2, 6, 1, 1)


@pytest.mark.parametrize("size_px", SIZES)
def test_halvings_equal_convolutions(size_px: int):
    encoder = Encoder(size_px=size_px, width=4, embedding=6)
    assert sum(isinstance(layer, nn.Conv2d) for layer in encoder) == depth(size_px)
    assert 2 ** depth(size_px) == size_px


def test_the_first_convolution_has_no_batch_norm_and_the_last_no_activation():
    kinds = [type(layer).__name__ for layer in Encoder(size_px=64, width=4, embedding=6)]
    assert kinds == ["Conv2d", "LeakyReLU", *["Conv2d", "ViewNorm2d", "LeakyReLU"] * 4, "Conv2d"]


def test_agrees_with_the_layers_written_out():
    encoder = Encoder(size_px=32, width=4, embedding=6).eval()
    x = frames = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for at in (0, 2, 5, 8, 11):
        convolution = encoder[at]
        x = nn.functional.conv2d(x, convolution.weight, convolution.bias, stride=2, padding=1)
        if at in (2, 5, 8):
            norm = encoder[at + 1]
            x = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        x = torch.where(x > 0, x, 0.2 * x) if at < 11 else x
    assert torch.allclose(encoder(frames), x, atol=1e-6)


def test_an_embedding_may_be_negative():
    assert (Encoder(size_px=32, width=4, embedding=64)(torch.rand(2, 3, 32, 32)) < 0).any()


@pytest.mark.parametrize("size_px", [0, 1, 16, 48, 100, -64])
def test_other_sizes_are_refused(size_px: int):
    with pytest.raises(ValueError, match=f"power of two of at least 32 px, found {size_px}"):
        depth(size_px)
