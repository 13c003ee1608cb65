"""A model file -> a network that is ready to use."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from torch import Tensor

from fabnet import probe_head
from fabnet.inference.network import AttributeHead, Network
from fabnet.modules import model_file
from fabnet.modules.devices import device
from fabnet.modules.model_file import Description, HeadDescription
from fabnet.probe_head import FittedHead

EXECUTABLE = "own"  # may contain executable code, so it is never loaded from a model file


def load(path: Path, device_name: str) -> Network:
    """The network of a model file, or of the folder that holds one; see `fabnet.load`.

    Raises:
        ValueError: one sentence: what is wrong with the file, or no such device.
    """
    path = path / model_file.NAME if path.is_dir() else path
    try:
        description, tensors = model_file.read(path)
        method = model_file.restore(_pretext(description), description, tensors)
        heads = tuple(_head(head, tensors) for head in sorted(description.heads, key=lambda head: head.name))
    except ValueError as error:
        raise ValueError(f"{path} is not a usable model file: {error}") from None
    where = device(device_name)
    return Network(description, method.to(where), heads, where)


def _pretext(description: Description) -> ModuleType:
    if description.method == EXECUTABLE:
        raise ValueError("an encoder of your own is used from its own file")
    return _module("pretext", description.method)


def _head(description: HeadDescription, tensors: dict[str, Tensor]) -> AttributeHead:
    probe = _module("probes", description.probe)
    prefix = f"heads.{description.name}."
    state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        fitted = FittedHead(probe_head.layers(state), probe.link, description.l2, {})
    except (AttributeError, KeyError, RuntimeError) as error:
        raise ValueError(f"it holds no head for {description.name} ({' '.join(str(error).split())})") from None
    return AttributeHead(description, fitted, probe)


def _module(kind: str, name: str) -> ModuleType:
    """A module of fabnet/pretext or fabnet/probes, by file name."""
    package = importlib.import_module(f"fabnet.{kind}")
    known = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    if name not in known:
        raise ValueError(f"it needs {name!r} of fabnet.{kind}, expected one of {', '.join(known)}")
    return importlib.import_module(f"fabnet.{kind}.{name}")
