"""A model file -> a network that is ready to use."""

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fabnet import probe_head
from fabnet.inference import model_file
from fabnet.inference.model_file import Description, Head
from fabnet.inference.network import Network, Reader
from fabnet.modules.method import Method
from fabnet.probe_head import FittedHead

BROUGHT = "own"  # its weights may be a program: a file that comes from elsewhere is not to bring one along


def load(path: Path, device: str) -> Network:
    """The network of a model file, or of the folder that holds one; see `fabnet.load`.

    Raises:
        ValueError: one sentence: what is wrong with the file, or no such device.
    """
    path = path / model_file.NAME if path.is_dir() else path
    try:
        description, weights = model_file.read(path)
        method = _method(description, weights)
        readers = tuple(_reader(head, weights) for head in sorted(description.heads, key=lambda head: head.name))
    except ValueError as error:
        raise ValueError(f"{path} is no usable model file: {error}") from None
    where = _device(device)
    return Network(description, method.to(where), readers, where)


def _reader(head: Head, weights: dict[str, Tensor]) -> Reader:
    module = _module("probes", head.probe)
    prefix = f"heads.{head.name}."
    state = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    try:
        return Reader(head, FittedHead(probe_head.layers(state), module.link, head.l2, {}), module)
    except (AttributeError, KeyError, RuntimeError) as error:
        raise ValueError(f"it holds no probe for {head.name} ({_line(error)})") from None


def _method(description: Description, weights: dict[str, Tensor]) -> Method:
    """The method in evaluation mode on the CPU.

    Raises:
        ValueError: one clause: no such method, or settings or weights that do not fit it.
    """
    name = description.method
    if name == BROUGHT:
        raise ValueError("an encoder of your own is used from its own file")
    module = _module("pretext", name)
    found = {key.removeprefix("method."): value for key, value in weights.items() if key.startswith("method.")}
    try:
        with torch.random.fork_rng(devices=[]):
            method: Method = module.build(module.Params(**description.settings), size_px=description.size_px)
        shared = {key: found[first] for key, first in model_file.names(method).items() if first in found}
        method.load_state_dict({**found, **shared})
    except ImportError as error:
        raise ValueError(f"{name} needs the package {error.name}, which is not installed here: install it") from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"its weights or settings do not fit {name} ({_line(error)})") from None
    return method.eval()


def _module(kind: str, name: str) -> Any:
    """A module of fabnet/pretext or fabnet/probes, by file name."""
    package = importlib.import_module(f"fabnet.{kind}")
    known = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    if name not in known:
        raise ValueError(f"it needs {name!r} of fabnet.{kind}, expected one of {', '.join(known)}")
    return importlib.import_module(f"fabnet.{kind}.{name}")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.zeros(0, device=name).device
    except (AssertionError, RuntimeError):
        raise ValueError(f"device {name!r} is not available here: take auto or cpu") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
