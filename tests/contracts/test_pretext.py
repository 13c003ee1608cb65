import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from model_samples import described
from torch import Tensor, nn

from fabnet.modules import ranks
from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Method
from fabnet.training import train
from stages.runtime import config, plugins
from stages.training import models

HERE = Path(__file__).parent
NAMES = plugins.names("fabnet.pretext")
SIZES = [32, 64]
SMALL = {"width": 4, "embedding": 6, "batch": 4, "heads": 2}
SETTINGS = train.Settings(
    optimiser="sgd", lr=0.01, momentum=0.9, weight_decay=0.0, epochs=1, plateau_factor=0.1, plateau_patience=1,
    schedule="plateau", lr_floor=0.0, lr_hold=0.0,
)  # fmt: skip


def module(name: str) -> ModuleType:
    return plugins.load("fabnet.pretext", name)


def build(name: str, size_px: int) -> Method:
    """Settings as in params.yaml, but for a small encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module(name).build(settings(name), size_px=size_px)


def settings(name: str) -> Any:
    given = config.load(Path(__file__).parents[2] / "params.yaml").method[name]
    small = {key: value for key, value in SMALL.items() if key in module(name).Params.__dataclass_fields__}
    return plugins.settings(module(name), {**given, **small}, f"method.{name}")


BUILT = {name: build(name, 32) for name in NAMES if not hasattr(settings(name), "weights")}
TRAINED = [name for name, net in BUILT.items() if net.frames > 0 and not net.is_solved]

READING = {"contrastive", "vicreg"}  # pytorch-metric-learning finds its pairs by values

each = pytest.mark.parametrize("name", NAMES)
each_built = pytest.mark.parametrize("name", BUILT)
each_trained = pytest.mark.parametrize("name", TRAINED)


def first_layer(net: Method) -> nn.Conv2d:
    return next(layer for layer in net.encoder.modules() if isinstance(layer, nn.Conv2d))


def noise(net: Method, size_px: int) -> Tensor:
    return torch.rand(4, max(net.frames, 1), 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def batch(net: Method, size_px: int) -> tuple[Tensor, ...]:
    """What its losses take: two of the four samples show one identity."""
    identities = torch.tensor([3, 0, 3, 1])
    return (noise(net, size_px), identities) if net.wants_identities else (noise(net, size_px),)


def trained(name: str) -> tuple[Method, list[train.Epoch]]:
    """The method and its history after one step, or as it was built if there is nothing to train."""
    net = build(name, 32)
    batches = [batch(net, 32)]
    if net.is_solved:
        net.solve([noise(net, 32)])
    if net.frames == 0 or net.is_solved:
        return net, []
    return net, list(
        train.Trainer(net, SETTINGS, device=torch.device("cpu")).epochs(
            lambda *_: batches, lambda: batches, lambda: None
        )
    )


def step(name: str) -> dict[str, Any]:
    """Gradients, running statistics and losses after a step on this process's share of a batch, in double precision."""
    net = build(name, 32).double()
    brightness = torch.linspace(1, 0.2, 4, dtype=torch.float64)[:, None, None, None, None]  # the last ones are easy
    frames, *identities = batch(net, 32)
    share = tuple(of.chunk(ranks.count())[ranks.number()] for of in (frames.double() * brightness, *identities))
    one = train.Trainer(net, SETTINGS, device=torch.device("cpu"))
    (epoch,) = one.epochs(lambda *_: [share], lambda: [share], lambda: None)
    gradients = {key: weight.grad for key, weight in net.named_parameters() if weight.grad is not None}
    return {"gradients": gradients, "buffers": dict(net.named_buffers()), "train": epoch.train, "val": epoch.val}


@each_built
def test_it_fits_a_device_without_float64(name: str):
    assert torch.float64 not in {value.dtype for value in BUILT[name].state_dict().values()}


@each
def test_settings_are_a_plain_frozen_dataclass(name: str):
    params = module(name).Params
    assert is_dataclass(params)
    assert params.__dataclass_params__.frozen


@each
def test_a_method_with_a_weight_file_can_read_it(name: str):
    has_weights = {"weights", "weights_sha256"} <= set(module(name).Params.__dataclass_fields__)
    assert has_weights == callable(getattr(module(name), "supplied", None))


@each_built
@pytest.mark.parametrize("size_px", SIZES)
def test_an_image_has_the_same_embedding_in_every_batch(name: str, size_px: int):
    encoder = build(name, size_px).encoder.eval()
    frames = torch.rand(3, 3, size_px, size_px, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together, alone = encoder(frames).flatten(1), encoder(frames[1:2]).flatten(1)
    assert together.isfinite().all()
    torch.testing.assert_close(together[1:2], alone)


@each_built
def test_a_stored_encoder_gives_the_same_embeddings(name: str, tmp_path: Path):
    net = build(name, 32)
    models.save(tmp_path, described(name, asdict(settings(name))), net)
    frames = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.equal(models.load(tmp_path)[0].encoder(frames), net.encoder.eval()(frames))


@each_built
@pytest.mark.parametrize("size_px", SIZES)
def test_losses_are_finite_scalars_and_one_is_the_loss(name: str, size_px: int):
    net = build(name, size_px)
    losses = net.losses(*batch(net, size_px))
    assert "loss" in losses
    assert all(value.shape == () and value.isfinite() for value in losses.values())


@each_trained
def test_a_step_on_noise_gives_every_trained_weight_a_finite_gradient(name: str):
    net = build(name, 32)
    net.losses(*batch(net, 32))["loss"].backward()
    gradients = {key: weight.grad for key, weight in net.named_parameters() if weight.requires_grad}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert all(weight.grad is not None and weight.grad.any() for weight in first_layer(net).parameters())


@each_trained
def test_one_step_changes_the_encoder(name: str):
    before = first_layer(build(name, 32)).weight
    net, (epoch,) = trained(name)
    assert epoch.steps == 1
    assert not torch.equal(first_layer(net).weight, before)


@pytest.mark.parametrize("name", [name for name in TRAINED if name not in READING])
def test_a_step_reads_no_value_from_the_device(name: str):
    """On the device `meta`, which holds no values: reading one raises. A GPU would be waited for."""
    meta = torch.device("meta")
    trainer = train.Trainer(build(name, 32), SETTINGS, device=meta)
    taken: list[tuple[Tensor, ...]] = []

    def batches() -> Iterator[tuple[Tensor, ...]]:
        for _ in range(3):
            taken.append(batch(trainer.method, 32))
            yield tuple(of.to(meta) for of in taken[-1])

    with pytest.raises(NotImplementedError, match="no data"):  # when the losses of all steps are read
        next(trainer.epochs(lambda *_: batches(), batches, lambda: None))
    assert trainer.steps == 3
    with pytest.raises(NotImplementedError, match="no data"):
        trainer.validate(batches())
    assert len(taken) == 6


@each_built
def test_equal_seeds_give_equal_weights(name: str):
    (one, first), (other, second) = trained(name), trained(name)
    assert first == second
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


@each_built
def test_losses_leave_the_global_random_state_alone(name: str):
    net = build(name, 32)
    before = torch.random.get_rng_state()
    net.losses(*batch(net, 32))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name in TRAINED if isinstance(BUILT[name].encoder, Encoder)])
def test_the_untrained_encoder_is_where_training_starts(name: str):
    untrained = build("random", 32).encoder.state_dict()
    for key, value in build(name, 32).encoder.state_dict().items():
        assert torch.equal(untrained[key], value), key


@pytest.mark.slow
def test_two_processes_that_share_a_batch_do_the_step_of_one(tmp_path: Path):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "localhost", "--nproc-per-node", "2"]
    command = [sys.executable, *torchrun, "--log-dir", str(tmp_path), str(HERE / "two_processes.py"), str(tmp_path)]
    paths = os.pathsep.join(str(path) for path in (HERE.parents[1], HERE, HERE.parent / "stages"))
    subprocess.run(command, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, check=True)
    shared = torch.load(tmp_path / "steps.pt")
    for name in TRAINED:
        alone = step(name)
        for key, tolerance in (("gradients", 1e-9), ("buffers", 1e-7)):  # losses are recorded in float32
            torch.testing.assert_close(
                shared[name][key],
                alone[key],
                rtol=tolerance,
                atol=tolerance,
                msg=lambda said, at=f"{name}, {key}": f"{at}: {said}",
            )
        assert shared[name]["train"] == pytest.approx(alone["train"], rel=1e-5), name
        assert shared[name]["val"] == pytest.approx(alone["val"], rel=1e-5), name
