"""Trained methods on disk: weights as safetensors beside a JSON description.

Nothing in them is executed, but for a program that the user brings as an encoder (`fabnet.pretext.own`).
Files: `model.json`, `encoder.safetensors`, `method.safetensors` (the rest of the method's weights) and
`checkpoints/<step>.safetensors` (the encoder during training).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fabnet.modules.method import Method
from stages.runtime import plugins, supplied
from stages.runtime.errors import UserError

FORMAT = 2  # raised when the files change in a way that older readers misunderstand


@dataclass(frozen=True)
class ModelCard:
    """What is needed to use an encoder, and where it came from."""

    method: str  # module of fabnet/pretext
    seed: int
    size_px: int  # side of the input, RGB in [0, 1]
    settings: dict[str, Any]  # the method's own
    trained_on: list[str]  # track data sets; empty for an encoder that was not trained here
    steps: int  # with those of the network that it started from
    format: int = FORMAT


def build(module: ModuleType, settings: Any, *, seed: int, size_px: int) -> Method:
    """The method with its supplied weights, or with initial weights that depend on `seed` alone.

    Raises:
        UserError: the weight file is missing, not the one that the parameters name, or does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not hasattr(settings, "weights"):
            return module.build(settings, size_px=size_px)
        name = module.__name__.rsplit(".", 1)[-1]
        path = supplied.check(
            settings.weights, settings.weights_sha256, f"method.{name}.weights", f"the weights of {name}"
        )
        try:
            with path.open("rb") as file:
                return module.supplied(settings, file)
        except ValueError as error:
            raise UserError(f"{path} cannot be used as the weights of {name}: {error}") from None


def save(folder: Path, card: ModelCard, net: Method) -> None:
    """Write the description and all weights."""
    folder.mkdir(parents=True, exist_ok=True)
    of_encoder = {_address(weight) for weight in net.encoder.state_dict().values()}
    rest = {name: weight for name, weight in net.state_dict().items() if _address(weight) not in of_encoder}
    save_file(_on_cpu(net.encoder.state_dict()), folder / "encoder.safetensors")
    save_file(_on_cpu(rest), folder / "method.safetensors")
    (folder / "model.json").write_text(json.dumps(asdict(card), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_checkpoint(folder: Path, net: Method, step: int) -> None:
    """Keep the encoder as it is after `step` steps."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    save_file(_on_cpu(net.encoder.state_dict()), folder / "checkpoints" / f"{step:08d}.safetensors")


def checkpoints(folder: Path) -> dict[int, Path]:
    """Weight files of the encoder by step, ascending; without the final one."""
    return {int(path.stem): path for path in sorted((folder / "checkpoints").glob("*.safetensors"))}


def load(folder: Path, weights: Path | None = None) -> tuple[nn.Module, ModelCard]:
    """The encoder in evaluation mode on the CPU, and its description; with `weights` that of a checkpoint.

    Raises:
        UserError: files missing, damaged, of a later format, or weights that do not fit the description.
    """
    card, net = _described(folder)
    _fill(net.encoder, folder, weights or folder / "encoder.safetensors")
    return net.encoder.eval(), card


def load_method(folder: Path) -> tuple[Method, ModelCard]:
    """The whole method in evaluation mode on the CPU, and its description.

    Raises:
        UserError: as `load`.
    """
    card, net = _described(folder)
    _fill(net.encoder, folder, folder / "encoder.safetensors")
    of_encoder = {_address(weight) for weight in net.encoder.state_dict().values()}
    shared = {name for name, weight in net.state_dict().items() if _address(weight) in of_encoder}
    _fill(net, folder, folder / "method.safetensors", elsewhere=shared)
    return net.eval(), card


def _described(folder: Path) -> tuple[ModelCard, Method]:
    """The description, and the method that it describes with weights that mean nothing."""
    try:
        fields = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise UserError(
                f"{folder}: expected model format {FORMAT}, found {fields['format']!r}: train it with this version"
            )
        card = ModelCard(**fields)
        module = plugins.load("fabnet.pretext", card.method)
        settings = plugins.settings(module, card.settings, f"{folder}/model.json: settings")
        with torch.random.fork_rng(devices=[]):
            return card, module.build(settings, size_px=card.size_px)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or folder} is missing: run `dvc repro pretrain` to make it") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder} holds no readable model ({error}): run `dvc repro --force pretrain`") from None


def _fill(module: nn.Module, folder: Path, path: Path, elsewhere: set[str] | None = None) -> None:
    """Load a weight file into `module`, all of it and nothing else; `elsewhere` names what another file holds."""
    try:
        weights = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or path} is missing: run `dvc repro pretrain` to make it") from None
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{folder} holds no readable model ({error}): run `dvc repro --force pretrain`") from None
    known = {name: module.state_dict()[name] for name in elsewhere or ()}
    try:
        module.load_state_dict({**known, **weights})
    except RuntimeError as error:
        sentence = " ".join(str(error).split())
        raise UserError(f"{folder}: the weights do not fit model.json ({sentence}): train the model again") from None


def device(name: str) -> torch.device:
    """`auto` picks cuda, then mps, then cpu.

    Raises:
        UserError: the device that was asked for is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there[name]:
        found = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise UserError(f"device {name!r} is not available here, found {found}: set `device: auto` in params.yaml")
    return torch.device(name)


def _address(weight: Tensor) -> int:
    return weight.data_ptr() or id(weight)


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
