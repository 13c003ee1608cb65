import pytest
import torch
from torch import nn

from fabnet.modules.decoder import Decoder

SIZES = [32, 64, 128, 256]


@pytest.mark.parametrize("size_px", SIZES)
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_embeddings_become_maps_at_the_input_size(size_px: int, outputs: int):
    decoder = Decoder(size_px=size_px, width=4, inputs=12, outputs=outputs)
    maps = decoder(torch.randn(2, 12, 1, 1, generator=torch.Generator().manual_seed(1)))
    assert maps.shape == (2, outputs, size_px, size_px)
    assert (maps.abs() < 1).all()


def test_agrees_with_the_layers_written_out():
    decoder = Decoder(size_px=32, width=4, inputs=12, outputs=2).eval()
    x = inputs = torch.randn(2, 12, 1, 1, generator=torch.Generator().manual_seed(1))
    for at in (2, 6, 10, 14, 18):
        convolution, norm = decoder[at], decoder[at + 1]
        x = nn.functional.interpolate(x.clamp_min(0), scale_factor=2, mode="bilinear", align_corners=False)
        x = nn.functional.conv2d(x, convolution.weight, convolution.bias, padding=1)
        if at < 18:
            x = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert torch.allclose(decoder(inputs), x.tanh(), atol=1e-6)


@pytest.mark.parametrize("size_px", SIZES)
def test_the_inputs_get_a_finite_gradient(size_px: int):
    decoder = Decoder(size_px=size_px, width=4, inputs=12, outputs=2)
    inputs = torch.rand(2, 12, 1, 1, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (decoder(inputs) ** 2).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.isfinite().all()
    assert (inputs.grad != 0).any(dim=1).all()


def test_negative_inputs_do_not_matter():
    decoder = Decoder(size_px=32, width=4, inputs=4, outputs=2).eval()
    inputs = torch.tensor([[0.3, 0.0, 0.9, 0.0], [0.3, -5.0, 0.9, -0.1]])[..., None, None]
    one, other = decoder(inputs)
    assert torch.equal(one, other)


@pytest.mark.parametrize(("slope", "gradient"), [(0.0, False), (0.2, True)])
def test_inputs_that_are_never_positive_get_a_gradient_by_the_slope_alone(slope: float, gradient: bool):
    decoder = Decoder(size_px=32, width=4, inputs=12, outputs=2, slope=slope)
    inputs = (-torch.rand(2, 12, 1, 1, generator=torch.Generator().manual_seed(1)) - 0.1).requires_grad_()
    (decoder(inputs) ** 2).sum().backward()
    assert inputs.grad is not None
    assert bool((inputs.grad != 0).any()) is gradient
