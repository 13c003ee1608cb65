"""Your own encoder: a program or a timm model with the weights of a file, without training.

Objective: none here. Input: RGB at `size_px`, less `mean`, divided by `std`; output: one vector, or one value in each
channel, per image. `kind` says what the file is:

- `torchscript`: written by `torch.jit.save`;
- `export`: written by `torch.export.save`, with a batch size that may vary, from a network in evaluation mode; it runs
  on another device than it was exported on if it takes the device from its input;
- `timm`: weights (state dict or safetensors) of the timm model `name`; those of a classifier are left out. Files under
  the names of the original release are read where timm knows them (DINOv2, CLIP), and position embeddings of another
  input size are resampled, both as timm does when it downloads weights.

Both kinds of program are code of whoever wrote the file: TorchScript is interpreted, and `torch.export.load` unpickles
parts of the file without restriction (PyTorch 2.13). With `weights_sha256` the user declares that this file is trusted:
a program with another digest is never opened, neither when the method is built nor when it is loaded from a model file,
which holds the bytes of the program as one of its weights. A `timm` file is read as weights alone.
"""

import hashlib
import importlib
import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Self

import torch
from torch import Tensor, nn

from fabnet.modules import weights
from fabnet.modules.method import Fixed, Method


@dataclass(frozen=True)
class Params:
    weights: str  # path of the file
    weights_sha256: str
    kind: Literal["torchscript", "export", "timm"]
    name: str  # of the timm model; empty for the other kinds
    size_px: int  # side of the input
    mean: list[float]  # of red, green and blue in [0, 1], subtracted
    std: list[float]  # by which the difference is divided


class Program(nn.Module):
    """A loaded program; its state is the bytes of its file."""

    file: Tensor  # (bytes) uint8

    def __init__(self, kind: str, sha256: str) -> None:
        super().__init__()
        self.kind, self.sha256 = kind, sha256
        self.register_buffer("file", torch.zeros(0, dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(_open)
        self._running: list[nn.Module] = []  # in a list, so that its weights are not counted again

    def open(self, file: Tensor) -> None:
        """Load the program from the bytes of its file, uint8.

        Raises:
            ValueError: not the trusted file, or not a program of this kind.
        """
        data = file.cpu().numpy().tobytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError("the program is not the one with the digest that is trusted")
        self._running = [OPENERS[self.kind](data)]
        self.file = file

    def forward(self, frames: Tensor) -> Any:
        return self._running[0](frames)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        for program in self._running:
            program._apply(fn)
        return super()._apply(fn, recurse)


def _open(program: Program, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
    """Before weights are loaded: load the program that they hold."""
    if f"{prefix}file" in state:
        try:
            program.open(state[f"{prefix}file"])
        except ValueError as error:
            rest[-1].append(str(error))  # PyTorch's list of what went wrong


class Normalised(nn.Module):
    """(B, 3, S, S) RGB in [0, 1] -> output of the network for (frames - mean) / std."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, frames: Tensor) -> Any:
        return self.net((frames - self.mean) / self.std)


def build(params: Params, *, size_px: int) -> Method:
    """The encoder without its program or with random weights, to be filled from a model file.

    Raises:
        ValueError: timm is needed and not installed, or does not know the model.
    """
    del size_px
    return Fixed(Normalised(_empty(params), params.mean, params.std))


def supplied(params: Params, file: BinaryIO) -> Method:
    """The encoder of a file, checked on noise.

    Raises:
        ValueError: no such file, weights of another model, or no embeddings.
    """
    net = _empty(params)
    if isinstance(net, Program):
        data = file.read()
        if not data:
            raise ValueError("it is empty")
        net.open(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    else:
        _fill_timm(net, _in_timms_layout(net, weights.state(weights.read(file))))
    encoder = Normalised(net, params.mean, params.std)
    _try(encoder, params.size_px)
    return Fixed(encoder)


def _empty(params: Params) -> nn.Module:
    return _timm(params.name, params.size_px) if params.kind == "timm" else Program(params.kind, params.weights_sha256)


def _torchscript(data: bytes) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch has deprecated the whole of TorchScript
            return torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except RuntimeError:
        raise ValueError("it is damaged or not a TorchScript program") from None


def _exported(data: bytes) -> nn.Module:
    reason = "it is damaged or not a program of torch.export"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # checked first: PyTorch logs a traceback
            is_sound = archive.testzip() is None and any(n.endswith("models/model.json") for n in archive.namelist())
        if is_sound:
            return torch.export.load(io.BytesIO(data)).module()
    except Exception:  # on damaged bytes it raises almost anything
        raise ValueError(reason) from None
    raise ValueError(reason)


OPENERS: dict[str, Callable[[bytes], nn.Module]] = {"torchscript": _torchscript, "export": _exported}


def _timm(name: str, size_px: int) -> nn.Module:
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise ValueError("kind: timm needs the package timm, which is not installed here: install it") from None
    except RuntimeError as error:  # a torchvision that was built for another PyTorch
        raise ValueError(f"timm cannot be imported ({error}): install the torchvision of your PyTorch") from None
    try:
        is_fixed = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)  # then the model takes `img_size`
        size = {"img_size": size_px} if is_fixed else {}
        return timm.create_model(name, pretrained=False, num_classes=0, **size).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"timm cannot make the model {name!r} ({' '.join(str(error).split())})") from None


def _in_timms_layout(net: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file under timm's names, as the model's module of timm converts downloads."""
    convert = getattr(importlib.import_module(type(net).__module__), "checkpoint_filter_fn", None)
    try:
        return convert(state, net) if convert else state
    except Exception as error:  # on weights of another network it raises almost anything
        raise ValueError(f"timm cannot convert its weights ({' '.join(str(error).split())})") from None


def _fill_timm(net: nn.Module, state: dict[str, Tensor]) -> None:
    classifier = getattr(net, "pretrained_cfg", {}).get("classifier") or ()
    dropped = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
    weights.fill(net, {name: value for name, value in state.items() if not name.startswith(dropped)})


def _try(encoder: nn.Module, size_px: int) -> None:
    """Raise ValueError unless each image becomes a vector that does not depend on the rest of the batch."""
    frames = torch.rand(3, 3, size_px, size_px, generator=torch.Generator().manual_seed(0))
    shape = f"(B, 3, {size_px}, {size_px})"
    try:
        with torch.inference_mode():
            together, alone = encoder.eval()(frames), encoder(frames[:1])
    except Exception as error:  # a program of the user's
        reason = str(error).strip().rsplit("\n", 1)[-1]
        raise ValueError(f"it does not run on images {shape} of varying number B ({reason})") from None
    if not (isinstance(together, Tensor) and together.is_floating_point() and together.shape[:1] == (3,)):
        actual = list(together.shape) if isinstance(together, Tensor) else type(together).__name__
        raise ValueError(f"expected embeddings (B, D) from images {shape}, found {actual} for B = 3")
    if not torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-5 * float(together.abs().max())):
        raise ValueError("an embedding changes with the rest of its batch: save the network in evaluation mode")


def problem(params: Params) -> str | None:
    """Why the settings cannot be used."""
    if len(params.mean) != 3 or len(params.std) != 3 or min(params.std) <= 0:
        return f"mean and std should be 3 numbers each, std above 0, found {params.mean} and {params.std}"
    if bool(params.name) != (params.kind == "timm"):
        return f"name should be that of a timm model if kind is timm, else empty, found {params.name!r}"
    return None
