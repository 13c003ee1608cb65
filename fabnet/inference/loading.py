"""A model file, or one of the authors' release -> a network that is ready to use."""

import hashlib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from fabnet import probe_head
from fabnet.inference.network import AttributeHead, Network
from fabnet.modules import model_file
from fabnet.modules.devices import device
from fabnet.modules.model_file import Description, HeadDescription
from fabnet.pretext import released
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
        sorted_heads = sorted(description.heads, key=lambda head: head.name)
        heads = tuple(_head(head, _state(head.name, tensors)) for head in sorted_heads)
    except ValueError as error:
        raise ValueError(f"{path} is not a usable model file: {error}") from None
    where = device(device_name)
    return Network(description, method.to(where), heads, where)


def load_released(path: Path, device_name: str) -> Network:
    """The network and the probe head of a file of the authors' release; a training checkpoint of theirs has no head.

    Raises:
        ValueError: one sentence: what is wrong with the file, or no such device.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            settings = replace(released.PUBLISHED, weights=path.name, weights_sha256=sha256)
            file.seek(0)
            with torch.random.fork_rng(devices=[]):
                method = released.supplied(settings, file).eval()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): name a file of the authors' release") from None
    except ValueError as error:
        raise ValueError(
            f"{path} should be a file of the authors' release, such as affectnet_4views.pth: {error}"
        ) from None
    own = method.own_head()
    heads = (_head(released.HEADS[len(own.state["1.weight"])], own.state),) if own else ()
    described = _described(settings, tuple(head.description for head in heads))
    where = device(device_name)
    return Network(described, method.to(where), heads, where)


def _described(settings: released.Params, heads: tuple[HeadDescription, ...]) -> Description:
    return Description(
        method="released",
        settings=asdict(settings),
        size_px=settings.size_px,
        dims=settings.embedding,
        seed=0,
        steps=0,  # none of them here
        trained_on=(),
        crop=released.CROP,
        heads=heads,
        synthetic=(),
    )


def _pretext(description: Description) -> ModuleType:
    if description.method == EXECUTABLE:
        raise ValueError("an encoder of your own is used from its own file")
    return _module("pretext", description.method)


def _state(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of one head in a model file."""
    prefix = f"heads.{name}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _head(description: HeadDescription, state: Mapping[str, Tensor]) -> AttributeHead:
    probe = _module("probes", description.probe)
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
