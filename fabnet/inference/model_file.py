"""A trained network as one file: safetensors, with a description of it in JSON as the only entry of its metadata.

Names of tensors: `method.<name>` are the weights of a pretext method, the encoder's included, each once;
`heads.<attribute>.<name>` are the probes that were fitted to its embeddings. Nothing in the file is executed.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor, nn

from fabnet.inference.crop import Crop
from fabnet.modules import weights

FORMAT = 1  # raised when the file changes in a way that older readers misunderstand
NAME = "model.safetensors"
KEY = "fabnet"  # of the description in the metadata


@dataclass(frozen=True)
class Head:
    """A probe that was fitted to the embeddings of one data set."""

    name: str  # of the attribute that it tells: its task, after its data set where several have a task of that name
    dataset: str
    task: str
    probe: str  # module of fabnet/probes
    columns: tuple[str, ...]  # what each of its outputs is
    l2: float  # its strength, chosen on validation


@dataclass(frozen=True)
class Description:
    """What is needed to use a network, and where it came from."""

    method: str  # module of fabnet/pretext
    settings: dict[str, Any]  # the method's own
    size_px: int  # side of the input
    dims: int  # of the embedding
    seed: int
    steps: int  # of its training
    trained_on: tuple[str, ...]  # data sets of face tracks; empty for a network that was not trained here
    crop: Crop
    heads: tuple[Head, ...]
    config_hash: str  # of all parameters behind it, as in the reports
    format: int = FORMAT

    def metadata(self) -> dict[str, str]:
        """For the file; the same description gives the same bytes."""
        return {KEY: json.dumps(asdict(self), sort_keys=True)}


def read(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """What the file says about the network, and its weights on the CPU.

    Raises:
        ValueError: one clause: no such file, damaged, with pickled code (which is not run), or of another format.
    """
    try:
        with path.open("rb") as file:
            found = weights.read(file)
            file.seek(0)
            told = (_header(file).get("__metadata__") or {}).get(KEY)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from None
    if told is None:
        raise ValueError("it holds other weights: expected a file that the stage `package` wrote")
    return _description(json.loads(told)), found


def _header(file: BinaryIO) -> dict[str, Any]:
    """What safetensors say before the tensors; nothing of a file of another kind."""
    start = file.read(9)
    file.seek(8)
    return json.loads(file.read(struct.unpack_from("<Q", start)[0])) if start[8:] == b"{" else {}


def _description(fields: Any) -> Description:
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        found = fields.get("format") if isinstance(fields, dict) else fields
        raise ValueError(f"expected model format {FORMAT}, found {found!r}: package it with this version")
    try:
        crop = Crop(**_frozen(fields["crop"], "upsample"))
        heads = [Head(**_frozen(head, "columns")) for head in fields["heads"]]
        return Description(**_frozen({**fields, "crop": crop, "heads": heads}, "heads", "trained_on"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"its description makes no sense ({error})") from None


def _frozen(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The fields with some lists, which JSON makes of tuples, as tuples again."""
    return {**fields, **{name: tuple(fields[name]) for name in names}}


def tensors(method: nn.Module, heads: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What a file holds of a method and the states of its probes by attribute: contiguous, on the CPU."""
    state = method.state_dict()
    found = {f"method.{name}": state[name] for name in names(method).values()}
    found |= {f"heads.{head}.{name}": value for head, of_head in heads.items() for name, value in of_head.items()}
    return {name: value.detach().cpu().contiguous() for name, value in found.items()}


def names(method: nn.Module) -> dict[str, str]:
    """The name of every weight of the method -> the first name of the same weight, under which a file holds it."""
    first: dict[int, str] = {}
    return {name: first.setdefault(value.data_ptr() or id(value), name) for name, value in method.state_dict().items()}
