"""Weight files that others published, read without executing anything in them; errors are one clause."""

import io
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

_MOST_TIMES = 4  # as large as they are stored; more than that is a file that is made to fill the memory


def read(file: BinaryIO, allow: Sequence[type] = ()) -> Any:
    """The content of a PyTorch file, zip or the older format, or of a safetensors file, on the CPU.

    Args:
        file: binary, at its start, able to seek.
        allow: classes that a PyTorch file may hold beside tensors and plain values.

    Raises:
        ValueError: empty, damaged, of another format, far larger than its file, or with pickled code, which is not
            executed.
    """
    start = file.read(9)
    file.seek(0)
    if not start:
        raise ValueError("it is empty")
    if start[8:] == b"{":
        return _safetensors(file.read())
    _check_members(file)
    try:
        with torch.serialization.safe_globals(list(allow)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript archives, which are then refused
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged bytes the unpickler raises almost anything
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            raise ValueError(f"it holds pickled code ({code[1]}), which is refused") from None
        raise ValueError("it is damaged or not a weight file") from None


def _check_members(file: BinaryIO) -> None:
    """Nothing, if the members of a zip are not far larger than the file; it is at its start afterwards."""
    size = file.seek(0, io.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception:  # no zip, or a damaged one, about which PyTorch says more
        unpacked = 0
    file.seek(0)
    if unpacked > _MOST_TIMES * size:
        raise ValueError(f"it claims {unpacked} bytes of weights in a file of {size} bytes")


def _safetensors(data: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, KeyError, RuntimeError):  # the last two: a type of numbers that PyTorch does not have
        raise ValueError("it is a damaged safetensors file") from None


def state(content: Any) -> dict[str, Tensor]:
    """Weights by name, alone or under `state_dict`; a `module.` before every name is dropped.

    Raises:
        ValueError: anything else, or weights that share a memory far smaller than they are.
    """
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"expected weights by name, found {'nothing' if content == {} else type(content).__name__}")
    other = next((key for key, value in content.items() if not isinstance(value, Tensor)), None)
    if other is not None:
        raise ValueError(f"expected weights by name, found {type(content[other]).__name__} under {other!r}")
    if any(value.layout != torch.strided for value in content.values()):
        raise ValueError("expected dense weights, found sparse ones")
    stored = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in content.values()}
    if sum(value.nbytes for value in content.values()) > _MOST_TIMES * sum(stored.values()):
        raise ValueError(
            f"its weights overlap: they take far more than the {sum(stored.values())} bytes that are stored"
        )
    prefix = "module." if all(str(key).startswith("module.") for key in content) else ""
    return {str(key).removeprefix(prefix): value.detach() for key, value in content.items()}


def fill(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load `weights` into `module`: exactly those that it has.

    Raises:
        ValueError: a weight is missing, has another shape, or is not the module's.
    """
    own = module.state_dict()
    for name, value in own.items():
        if name not in weights:
            raise ValueError(f"expected a weight {name} {list(value.shape)}, found none: it is of another network")
        if weights[name].shape != value.shape:
            raise ValueError(f"expected {name} of shape {list(value.shape)}, found {list(weights[name].shape)}")
    extra = next((name for name in weights if name not in own), None)
    if extra is not None:
        raise ValueError(f"found a weight {extra}, which the network does not have: it is of another one")
    module.load_state_dict(dict(weights))
