import hashlib
import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm_samples
import torch
from model_samples import described
from timm_samples import weights_of
from torch import Tensor, nn

from fabnet.pretext import own
from stages.training import models

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.1]
FRAMES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
KINDS = ["torchscript", "export"]


def network(*, outputs: int = 6) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 4, stride=2), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(16, outputs),
        ).eval()  # fmt: skip


def packed(net: nn.Module, kind: str, *, size_px: int = 32, batch: Any = torch.export.Dim.DYNAMIC) -> bytes:
    buffer, example = io.BytesIO(), torch.rand(3, 3, size_px, size_px)
    if kind == "export":
        torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)), buffer)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.save(torch.jit.script(net), buffer)
    return buffer.getvalue()


def params(data: bytes, kind: Any, **changes: Any) -> own.Params:
    fields: dict[str, Any] = {
        "weights": "encoder.bin", "weights_sha256": hashlib.sha256(data).hexdigest(), "kind": kind, "name": "",
        "size_px": 32, "mean": MEAN, "std": STD,
    }  # fmt: skip
    return own.Params(**{**fields, **changes})


def supplied(data: bytes, kind: str, **changes: Any) -> Any:
    return own.supplied(params(data, kind, **changes), io.BytesIO(data)).eval()


def embed(encoder: nn.Module, frames: Tensor = FRAMES) -> Tensor:
    with torch.inference_mode():
        return encoder(frames)


def expected(net: nn.Module) -> Tensor:
    with torch.inference_mode():
        return net((FRAMES - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])


def complaint(data: bytes, kind: str, **changes: Any) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        supplied(data, kind, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_gives_the_embeddings_of_its_network_on_normalised_images(kind: str):
    encoder = supplied(packed(network(), kind), kind).encoder
    torch.testing.assert_close(embed(encoder), expected(network()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_a_method_holds_its_program(kind: str):
    data = packed(network(), kind)
    net = supplied(data, kind)
    assert {name: value.numpy().tobytes() for name, value in net.state_dict().items()} == {"encoder.net.file": data}
    other = own.build(params(data, kind), size_px=32).eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(embed(other.encoder), embed(net.encoder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_is_restored_from_a_model_folder(tmp_path: Path, kind: str):
    data = packed(network(), kind)
    settings = params(data, kind)
    net = own.supplied(settings, io.BytesIO(data))
    models.save(tmp_path, described("own", vars(settings)), net)
    assert torch.equal(embed(models.load(tmp_path)[0].encoder), embed(net.encoder))


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_of_a_program_move_with_the_encoder(kind: str):
    encoder = supplied(packed(network(), kind), kind).encoder.double()
    with torch.inference_mode():
        assert encoder(FRAMES.double()).dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_of_another_digest_is_not_opened(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(own.OPENERS, kind, lambda _: pytest.fail("it was opened"))
    data = packed(network(), kind)
    assert (
        complaint(data, kind, weights_sha256="0" * 64) == "the program is not the one with the digest that is trusted"
    )
    state = {"encoder.net.file": torch.frombuffer(bytearray(data), dtype=torch.uint8)}
    with pytest.raises(RuntimeError, match="not the one with the digest that is trusted"):
        own.build(params(b"", kind), size_px=32).load_state_dict(state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_program_is_refused(kind: str, share: float):
    data = packed(network(), kind)
    assert complaint(data[: int(share * len(data))], kind).startswith("it is damaged or not a ")


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_not_programs_are_refused(kind: str):
    state = io.BytesIO()
    torch.save(network().state_dict(), state)
    other = packed(network(), KINDS[kind == "torchscript"])
    for data in (b"program", state.getvalue(), other):
        assert complaint(data, kind).startswith("it is damaged or not a ")
    assert complaint(b"", kind) == "it is empty"


class Pair(nn.Module):
    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        return frames, frames


class Everything(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames.mean()


class Neighbours(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames.flatten(1) - frames.flatten(1).mean(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("net", "clause"),
    [
        (Pair(), "expected embeddings (B, D) from images (B, 3, 32, 32), found tuple for B = 3"),
        (Everything(), "expected embeddings (B, D) from images (B, 3, 32, 32), found [] for B = 3"),
        (Neighbours(), "an embedding changes with the rest of its batch: save the network in evaluation mode"),
    ],
)
def test_programs_without_one_embedding_per_image_are_refused(kind: str, net: nn.Module, clause: str):
    assert complaint(packed(net, kind), kind) == clause


def test_a_fixed_batch_or_another_size_is_refused():
    clause = "it does not run on images (B, 3, 32, 32) of varying number B ("
    assert complaint(packed(network(), "export", batch=torch.export.Dim.STATIC), "export").startswith(clause)
    assert complaint(packed(network(), "export", size_px=64), "export").startswith(clause)


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"mean": [0.5]}, "mean and std should be 3 numbers each, std above 0, found [0.5] and [0.2, 0.3, 0.1]"),
        ({"std": [1.0, 0.0, 1.0]}, "mean and std should be 3 numbers each, std above 0"),
        ({"name": "resnet18"}, "name should be that of a timm model if kind is timm, else empty, found 'resnet18'"),
    ],
)
def test_settings_that_contradict_each_other_are_a_problem(changes: dict[str, Any], clause: str):
    assert own.problem(params(b"", "torchscript")) is None
    assert str(own.problem(params(b"", "torchscript", **changes))).startswith(clause)


def test_without_timm_the_error_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert complaint(b"weights", "timm", name="resnet18") == (
        "kind: timm needs the package timm, which is not installed here: install it"
    )


def test_a_timm_that_cannot_be_imported_is_an_error_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "timm.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert complaint(b"weights", "timm", name="resnet18") == (
        "timm cannot be imported (operator torchvision::nms does not exist): install the torchvision of your PyTorch"
    )


@pytest.fixture
def small_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from timm_samples.imported(tmp_path, monkeypatch)


def test_a_timm_model_loads_its_weights_without_the_classifier(small_timm: Any):
    full = small_timm.create_model("small")
    net = supplied(weights_of(full), "timm", name="small")
    assert torch.equal(embed(net.encoder), expected(nn.Sequential(full.stem, full.pool)))
    assert sorted(net.state_dict()) == ["encoder.net.stem.bias", "encoder.net.stem.weight"]


def test_timm_weights_that_do_not_fit_and_unknown_models_are_refused(small_timm: Any):
    data = weights_of(network())
    assert complaint(data, "timm", name="small").startswith("expected a weight stem.weight")
    assert complaint(data, "timm", name="large") == "timm cannot make the model 'large' (Unknown model (large))"


def test_a_timm_model_of_fixed_size_is_made_for_the_size_that_is_asked_for(small_timm: Any):
    full = small_timm.create_model("vit", img_size=64)
    data = weights_of(full)
    net = supplied(data, "timm", name="vit", size_px=32).encoder.net
    assert net.pos_embed.shape == (1, 5, 6)
    assert torch.equal(net.pos_embed[:, 0], full.pos_embed[:, 0])


def test_timm_converts_files_that_have_the_names_of_the_original(small_timm: Any):
    full = small_timm.create_model("vit", img_size=32)
    theirs = {f"visual.{name}": value for name, value in full.state_dict().items()}
    net = supplied(weights_of({**theirs, "text.weight": torch.ones(1)}), "timm", name="vit")
    assert torch.equal(net.encoder.net.stem.weight, full.stem.weight)


def test_weights_that_timm_cannot_convert_are_refused(small_timm: Any):
    data = weights_of({"visual.pos_embed": torch.ones(1, 4, 5)})
    assert complaint(data, "timm", name="vit").startswith("timm cannot convert its weights (")


def test_real_timm_models_load_their_weights():
    timm = pytest.importorskip("timm")
    full = timm.create_model("resnet18", pretrained=False).eval()
    net = supplied(weights_of(full), "timm", name="resnet18", size_px=64)
    assert embed(net.encoder).shape == (5, 512)


def test_a_real_timm_vit_of_another_size_is_resampled():
    timm = pytest.importorskip("timm")
    name = "vit_tiny_patch16_224"
    full = timm.create_model(name, pretrained=False, img_size=96).eval()
    net = supplied(weights_of(full), "timm", name=name, size_px=64)
    assert embed(net.encoder, torch.rand(2, 3, 64, 64)).shape == (2, 192)
