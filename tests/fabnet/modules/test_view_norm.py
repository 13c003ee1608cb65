import pytest
import torch
from torch import Tensor, nn

from fabnet.modules.decoder import Decoder
from fabnet.modules.encoder import Encoder
from fabnet.modules.view_norm import ViewNorm2d, ViewSequential

VIEWS, BATCH = 3, 4


def norm() -> ViewNorm2d:
    """With weights and statistics unlike those of a new layer."""
    layer = ViewNorm2d(5).double()
    generator = torch.Generator().manual_seed(0)
    for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
        assert value is not None
        value.data = torch.rand(5, dtype=torch.float64, generator=generator) + 0.5
    return layer


def plain(layer: ViewNorm2d) -> nn.BatchNorm2d:
    """PyTorch's layer in the same state."""
    copy = nn.BatchNorm2d(layer.num_features).double()
    copy.load_state_dict(layer.state_dict())
    return copy


def images() -> Tensor:
    """Views that differ in mean and spread, one after the other."""
    noise = torch.randn(VIEWS, BATCH, 5, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scale = torch.arange(1.0, VIEWS + 1)[:, None, None, None, None]
    return (noise * scale + 2 * scale).flatten(0, 1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_outputs_gradients_and_statistics_equal_those_of_a_call_for_each_view(layout: torch.memory_format):
    ours = norm()
    theirs = plain(ours)
    x = images().to(memory_format=layout).requires_grad_()
    y = images().requires_grad_()
    weights = torch.rand(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    one = ours(x, VIEWS)
    several = torch.cat([theirs(view) for view in y.chunk(VIEWS)])
    assert one.is_contiguous(memory_format=layout)
    torch.testing.assert_close(one, several)
    (one * weights).sum().backward()
    (several * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for name, weight in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, weight.grad)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer)
    assert ours.num_batches_tracked == VIEWS
    assert not torch.allclose(one, plain(norm())(images()))


def test_in_evaluation_mode_views_make_no_difference():
    layer = norm().eval()
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    assert torch.equal(layer(images(), VIEWS), layer(images()))
    assert torch.equal(layer(images(), VIEWS), plain(layer).eval()(images()))
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


def test_its_state_has_the_names_of_pytorchs_layer():
    assert list(norm().state_dict()) == list(nn.BatchNorm2d(5).state_dict())


@pytest.mark.parametrize(
    ("layers", "given"),
    [
        (Encoder(size_px=32, width=4, embedding=6), torch.rand(6, 3, 32, 32)),
        (Decoder(size_px=32, width=4, inputs=6, outputs=2), torch.randn(6, 6, 1, 1)),
    ],
)
def test_every_norm_of_a_network_is_told_of_the_views(layers: ViewSequential, given: Tensor):
    layers(given, 3)
    assert {int(layer.num_batches_tracked) for layer in layers if isinstance(layer, nn.BatchNorm2d)} == {3}
    layers(given)
    assert {int(layer.num_batches_tracked) for layer in layers if isinstance(layer, nn.BatchNorm2d)} == {4}
