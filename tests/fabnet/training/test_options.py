"""Each option of a training step, alone: it is used, and the weights stay near those of the plain way."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fabnet.modules.method import Method
from fabnet.pretext import fabnet, fabnet_curriculum
from fabnet.training import options, train

CPU = torch.device("cpu")
PLAIN = train.Settings("adam", 1e-3, 0.9, 0.0, 1, plateau_factor=0.1, plateau_patience=2)
STEPS = 8

uses_compiler = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


class Line(Method):
    """The loss is the distance of the frames' values from a line with a learned slope and height."""

    frames = 1

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.slope, self.height = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        column = torch.arange(frames.shape[-1], device=frames.device)
        return {"loss": (frames - self.slope * column - self.height).abs().mean()}


def faces() -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return fabnet.build(fabnet.Params(width=4, embedding=8), size_px=32)


def images(net: Method) -> list[Tensor]:
    """A smooth batch for each step."""
    coarse = torch.rand(STEPS * 4 * net.frames, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    smooth = nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    return list(smooth.unflatten(0, (STEPS, 4, net.frames)))


def trained(net: Method, settings: train.Settings, device: torch.device = CPU) -> tuple[train.Epoch, list[Tensor]]:
    """The epoch and the weights after it."""
    batches = [batch.to(device) for batch in images(net)]
    trainer = train.Trainer(net, settings, device=device)
    (epoch,) = trainer.epochs(lambda *_: batches, lambda: batches[:2], lambda: None)
    return epoch, [weight.detach().cpu() for weight in net.parameters()]


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    """Distance of two trained networks, as a share of the way that training moved the first."""
    start = [weight.detach() for weight in faces().parameters()]
    moved, distance = (
        torch.cat([(a - b).flatten() for a, b in zip(one, others, strict=True)]).norm() for others in (start, other)
    )
    return float(distance / moved)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_fused_optimiser_agrees_with_the_plain_one(optimiser: Any):
    settings = replace(PLAIN, optimiser=optimiser)
    assert train.Trainer(faces(), replace(settings, fused=True), device=CPU).optimiser.param_groups[0]["fused"]
    (plain, weights), (fused, others) = trained(faces(), settings), trained(faces(), replace(settings, fused=True))
    assert fused.train == pytest.approx(plain.train, rel=1e-5)
    assert apart(weights, others) < 3e-2  # Adam enlarges the rounding of gradients near zero


def test_bfloat16_stays_near_full_precision_and_keeps_losses_and_weights_in_it():
    settings = replace(PLAIN, optimiser="sgd")
    plain, weights = trained(faces(), settings)
    half, others = trained(faces(), replace(settings, precision="bfloat16"))
    assert half.train == pytest.approx(plain.train, rel=1e-2)
    assert half.val == pytest.approx(plain.val, rel=1e-2)
    assert {weight.dtype for weight in others} == {torch.float32}
    assert 0 < apart(weights, others) < 0.3
    with options.autocast("bfloat16", CPU):
        net = faces()
        assert net.losses(images(net)[0])["loss"].dtype == torch.float32
        assert net.encoder(images(net)[0][:, 0]).dtype == torch.bfloat16


def test_float16_is_refused_without_cuda():
    with pytest.raises(ValueError, match="precision float16 needs a CUDA device, found cpu: set it to bfloat16 or flo"):
        options.check("float16", "none", CPU)
    options.check("bfloat16", "none", CPU)


@pytest.fixture
def without_a_compiler() -> Iterator[None]:
    from torch._inductor import config

    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        yield
    torch.compiler.reset()


@pytest.mark.slow
@uses_compiler
@pytest.mark.usefixtures("without_a_compiler")
def test_compiling_is_refused_in_one_line_where_it_does_not_work():
    with pytest.raises(
        ValueError, match=r"compile default does not work here \(.*no-such-compiler.*\): set it to none"
    ):
        options.check("float32", "default", CPU)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@uses_compiler
def test_a_compiled_training_agrees_with_the_plain_one():
    options.check("float32", "default", CPU)
    (plain, weights), (fast, others) = trained(Line(), PLAIN), trained(Line(), replace(PLAIN, compile="default"))
    assert fast.train == pytest.approx(plain.train, rel=1e-5)
    torch.testing.assert_close(weights, others)


@pytest.mark.slow
@uses_compiler
def test_the_losses_with_the_curriculum_are_compiled_as_a_whole():
    net = fabnet_curriculum.build(fabnet_curriculum.Params(width=4, embedding=8, patience=1, batch=4), size_px=32)
    whole = torch.compile(net.losses, backend="aot_eager", fullgraph=True)  # makes no machine code
    losses = whole(images(net)[0])
    losses["loss"].backward()
    gradients = [weight.grad for weight in net.parameters()]
    net.zero_grad()
    plain = net.losses(images(net)[0])
    plain["loss"].backward()
    torch.testing.assert_close(losses, plain)
    torch.testing.assert_close([weight.grad for weight in net.parameters()], gradients)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "float16"},
        {"precision": "float16", "fused": True},
        {"precision": "bfloat16"},
        {"fused": True},
        {"compile": "default"},
        {"compile": "reduce-overhead"},
    ],
    ids=str,
)
def test_each_option_stays_near_the_plain_way_on_a_gpu(changes: dict[str, Any]):
    settings, device = replace(PLAIN, **changes), torch.device("cuda")
    options.check(settings.precision, settings.compile, device)
    (plain, _), (fast, _) = trained(faces(), PLAIN, device), trained(faces(), settings, device)
    assert fast.train == pytest.approx(plain.train, rel=2e-2)
    assert fast.val == pytest.approx(plain.val, rel=2e-2)
