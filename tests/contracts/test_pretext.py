from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from fabnet import train
from fabnet.encoder import Encoder
from fabnet.method import Method
from stages import config, plugins

NAMES = plugins.names("fabnet.pretext")
SIZES = [32, 64]
WIDTH, EMBEDDING = 4, 6
SETTINGS = train.Settings(
    optimiser="sgd", lr=0.01, momentum=0.9, weight_decay=0.0, epochs=1, plateau_factor=0.1, plateau_patience=1,
    amp=False,
)  # fmt: skip


def module(name: str) -> ModuleType:
    return plugins.load("fabnet.pretext", name)


def build(name: str, size_px: int) -> Method:
    """Settings as in params.yaml, but for a small encoder."""
    given = config.load(Path(__file__).parents[2] / "params.yaml").method[name]
    settings = plugins.settings(module(name), {**given, "width": WIDTH, "embedding": EMBEDDING}, f"method.{name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module(name).build(settings, size_px=size_px)


TRAINED = [name for name in NAMES if build(name, 32).frames > 0]

each = pytest.mark.parametrize("name", NAMES)
each_trained = pytest.mark.parametrize("name", TRAINED)


def noise(net: Method, size_px: int) -> Tensor:
    return torch.rand(4, max(net.frames, 1), 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def trained(name: str) -> tuple[Method, list[train.Epoch]]:
    """The method and its history after one step, or as it was built if there is nothing to train."""
    net = build(name, 32)
    if net.frames == 0:
        return net, []
    batches = [noise(net, 32)]
    return net, list(
        train.Trainer(net, SETTINGS, device=torch.device("cpu")).epochs(
            lambda _: batches, lambda: batches, lambda _: None
        )
    )


@each
def test_settings_are_a_plain_frozen_dataclass_with_the_size_of_the_encoder(name: str):
    params = module(name).Params
    assert is_dataclass(params)
    assert params.__dataclass_params__.frozen
    assert {"width", "embedding"} <= set(params.__dataclass_fields__)


@each
@pytest.mark.parametrize("size_px", SIZES)
def test_the_encoder_is_the_one_that_is_stored(name: str, size_px: int):
    net = build(name, size_px)
    reference = Encoder(size_px=size_px, width=WIDTH, embedding=EMBEDDING)
    assert {key: value.shape for key, value in net.encoder.state_dict().items()} == {
        key: value.shape for key, value in reference.state_dict().items()
    }


@each
@pytest.mark.parametrize("size_px", SIZES)
def test_losses_are_finite_scalars_and_one_is_the_loss(name: str, size_px: int):
    net = build(name, size_px)
    losses = net.losses(noise(net, size_px))
    assert "loss" in losses
    assert all(value.shape == () and value.isfinite() for value in losses.values())


@each_trained
def test_a_step_on_noise_gives_every_trained_weight_a_finite_gradient(name: str):
    net = build(name, 32)
    net.losses(noise(net, 32))["loss"].backward()
    gradients = {key: weight.grad for key, weight in net.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert all(weight.grad is not None and weight.grad.any() for weight in net.encoder[0].parameters())


@each_trained
def test_one_step_changes_the_encoder(name: str):
    before = build(name, 32).encoder.state_dict()
    net, (epoch,) = trained(name)
    assert epoch.steps == 1
    assert not torch.equal(net.encoder.state_dict()["0.weight"], before["0.weight"])


@each
def test_equal_seeds_give_equal_weights(name: str):
    (one, first), (other, second) = trained(name), trained(name)
    assert first == second
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


@each
def test_losses_leave_the_global_random_state_alone(name: str):
    net = build(name, 32)
    before = torch.random.get_rng_state()
    net.losses(noise(net, 32))
    assert torch.equal(torch.random.get_rng_state(), before)


@each
def test_the_untrained_encoder_is_where_every_method_starts(name: str):
    untrained = build("random", 32).encoder.state_dict()
    for key, value in build(name, 32).encoder.state_dict().items():
        assert torch.equal(untrained[key], value), key
