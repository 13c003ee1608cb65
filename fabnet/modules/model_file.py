"""A trained network as one file: safetensors, with a description of it in JSON as the only entry of its metadata.

Training writes the weights of a method; the stage `package` adds its attribute heads and how faces are cut.

Names of tensors: `method.<name>` are the weights of a pretext method, the encoder's included, each once;
`heads.<attribute>.<name>` are those of the probes that were fitted to its embeddings. Nothing in the file is executed.
"""

import errno
import json
import math
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fabnet.modules.face_crop import Crop
from fabnet.modules.method import Method

_DISK_FAILS = (errno.EIO, errno.ESTALE, errno.ENXIO)

# Raised by a change that readers of the format before would misunderstand or refuse: a field of the description that
# is added, removed or read in another way, or other names of tensors. A reader reads the format before its own as well.
# 1: always with a crop and a configuration. 2: both may be missing. 3: with `synthetic`.
FORMAT = 3
NAME = "model.safetensors"
KEY = "fabnet"  # of the description in the metadata
MAX_PX, MAX_DIMS = 4096, 2**20


@dataclass(frozen=True)
class HeadDescription:
    """A probe head that was fitted to the embeddings of one data set."""

    name: str  # of the attribute: its task, after its data set where several have a task of that name
    dataset: str
    task: str
    probe: str  # module of fabnet/probes
    columns: tuple[str, ...]  # what each of its outputs is
    l2: float  # weight of the L2 regularisation, chosen on validation


@dataclass(frozen=True)
class Description:
    """What is needed to use a network, and where it came from."""

    method: str  # module of fabnet/pretext
    settings: dict[str, Any]  # the method's own
    size_px: int  # side of the input, RGB in [0, 1]
    dims: int  # of the embedding
    seed: int
    steps: int  # of its training, with those of the network that it started from
    trained_on: tuple[str, ...]  # data sets of face tracks; empty for a network that was not trained here
    crop: Crop | None = None  # None until it is packaged
    heads: tuple[HeadDescription, ...] = ()
    config_hash: str = ""  # of all parameters behind it, as in the reports; empty until it is packaged
    synthetic: tuple[str, ...] | None = None  # data sets behind it that were rendered; None until it is packaged
    format: int = FORMAT

    def metadata(self) -> dict[str, str]:
        """For the file; the same description gives the same bytes."""
        return {KEY: json.dumps(asdict(self), sort_keys=True)}

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets that its encoder or one of its heads was fitted to, sorted."""
        return tuple(sorted({*self.trained_on, *(head.dataset for head in self.heads)}))


def coordinates(points: int) -> tuple[str, ...]:
    """What the outputs of a head of points are: x0, y0, x1, y1 ..."""
    return tuple(f"{axis}{point}" for point in range(points) for axis in "xy")


def read(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """The description of the network in a file, and the tensors on the CPU.

    Raises:
        ValueError: one clause: no such file, damaged, not safetensors, of a format that is not known here, or with
            numbers that no network has.
        OSError: the disk fails.
    """
    try:
        with path.open("rb") as file:  # where a disk fails, this is an error; a map would end the process by a signal
            while file.read(2**20):
                pass
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except OSError as error:
        if error.errno in _DISK_FAILS:
            raise
        raise ValueError(f"it cannot be read ({error})") from None
    except SafetensorError:
        raise ValueError("it is damaged or not a safetensors file") from None
    if KEY not in metadata:
        raise ValueError("it holds other weights: expected a file that the stages `pretrain` or `package` wrote")
    return _description(metadata[KEY]), tensors


def _description(text: str) -> Description:
    try:
        fields = json.loads(text)
        if fields["format"] not in (FORMAT - 1, FORMAT):
            raise ValueError(f"expected model format {FORMAT - 1} or {FORMAT}, found {fields['format']!r}: "
                             "make it with this version")  # fmt: skip
        crop = None if fields["crop"] is None else Crop(**_with_tuples(fields["crop"], "upsample"))
        heads = [HeadDescription(**_with_tuples(head, "columns")) for head in fields["heads"]]
        rendered = fields.get("synthetic")
        synthetic = None if rendered is None else tuple(rendered)
        described = {**fields, "crop": crop, "heads": heads, "synthetic": synthetic, "format": FORMAT}
        description = Description(**_with_tuples(described, "heads", "trained_on"))
        _check(description)
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"its description makes no sense ({error})") from None
    return description


def _check(description: Description) -> None:
    """Nothing, if a network may have these numbers."""
    crop = description.crop
    sizes: dict[str, tuple[Any, int]] = {"size_px": (description.size_px, MAX_PX), "dims": (description.dims, MAX_DIMS)}
    if crop is not None:
        sizes["crop_px"] = crop.crop_px, MAX_PX
        for name in ("margin_frac", "min_score"):
            if not math.isfinite(getattr(crop, name)):
                raise ValueError(f"its {name} should be a number, found {getattr(crop, name)}")
    for name, (found, most) in sizes.items():
        if not isinstance(found, int) or not 0 < found <= most:
            raise ValueError(f"its {name} should be a whole number up to {most}, found {repr(found)[:40]}")


def _with_tuples(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The fields with the named lists, which JSON makes of tuples, as tuples again."""
    return {**fields, **{name: tuple(fields[name]) for name in names}}


def restore(module: ModuleType, description: Description, tensors: Mapping[str, Tensor]) -> Method:
    """The described method with its weights, in evaluation mode on the CPU; `module` is that of fabnet/pretext.

    Raises:
        ValueError: one clause: the settings or weights do not fit the method, or it needs a package that is missing.
    """
    name = description.method
    weights = {key.removeprefix("method."): value for key, value in tensors.items() if key.startswith("method.")}
    try:
        with torch.random.fork_rng(devices=[]), _no_larger_than(weights):
            method: Method = module.build(module.Params(**description.settings), size_px=description.size_px)
        shared = {key: weights[first] for key, first in names(method).items() if first in weights}
        method.load_state_dict({**weights, **shared})
    except ImportError as error:
        raise ValueError(f"{name} needs the package {error.name}, which is not installed here: install it") from None
    except (RuntimeError, TypeError, ValueError, LookupError) as error:
        raise ValueError(f"its weights or settings do not fit {name} ({' '.join(str(error).split())})") from None
    return method.eval()


@contextmanager
def _no_larger_than(weights: Mapping[str, Tensor]) -> Generator[None, None, None]:
    """Inside the block this thread builds no network that is far larger than these weights, whatever its settings say.

    Raises:
        ValueError: it would be.
    """
    room, thread = 2 * sum(value.numel() for value in weights.values()) + 2**20, threading.get_ident()
    layers = 2 * len(weights) + 1000

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter) -> None:
        nonlocal room, layers
        if threading.get_ident() == thread:
            room, layers = room - parameter.numel(), layers - 1
            if room < 0 or layers < 0:
                raise ValueError("its settings are of a far larger network than its weights")

    handle = nn.modules.module.register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def write(
    path: Path, description: Description, method: nn.Module, heads: Mapping[str, Mapping[str, Tensor]] | None = None
) -> None:
    """Write a method and the states of its attribute heads by name; the same input gives the same bytes."""
    state = method.state_dict()
    tensors = {f"method.{name}": state[name] for name in names(method).values()}
    for head, of_head in (heads or {}).items():
        tensors |= {f"heads.{head}.{name}": value for name, value in of_head.items()}
    content = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, description.metadata())
    path.write_bytes(content)  # safetensors' own files leave a `.tmp` behind when they are killed


def names(method: nn.Module) -> dict[str, str]:
    """The name of every weight of the method -> the first name of the same weight, under which a file holds it."""
    first: dict[int, str] = {}
    return {name: first.setdefault(value.data_ptr() or id(value), name) for name, value in method.state_dict().items()}
