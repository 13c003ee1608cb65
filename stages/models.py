"""Trained methods on disk: weights as safetensors beside a JSON description; nothing in them is executed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fabnet.encoder import Encoder
from stages.errors import UserError

FORMAT = 1  # raised when the files change in a way that older readers misunderstand


@dataclass(frozen=True)
class ModelCard:
    """What is needed to use an encoder, and where it came from."""

    method: str
    seed: int
    size_px: int  # side of the input, RGB in [0, 1]
    width: int  # channels of the first convolution
    embedding: int  # dimensions
    trained_on: list[str]  # track data sets; empty for an untrained encoder
    steps: int
    format: int = FORMAT


def save(folder: Path, card: ModelCard, encoder: nn.Module, method: nn.Module) -> None:
    """Write `encoder.safetensors`, `method.safetensors` (the rest of the method's weights) and `model.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    of_encoder = {_address(weight) for weight in encoder.state_dict().values()}
    rest = {name: weight for name, weight in method.state_dict().items() if _address(weight) not in of_encoder}
    save_file(_on_cpu(encoder.state_dict()), folder / "encoder.safetensors")
    save_file(_on_cpu(rest), folder / "method.safetensors")
    (folder / "model.json").write_text(json.dumps(asdict(card), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[Encoder, ModelCard]:
    """The encoder in evaluation mode on the CPU, and its description.

    Raises:
        UserError: files missing, damaged, of a later format, or weights that do not fit the description.
    """
    try:
        fields = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "encoder.safetensors")
        if fields["format"] != FORMAT:
            raise UserError(
                f"{folder}: expected model format {FORMAT}, found {fields['format']!r}: train it with this version"
            )
        card = ModelCard(**fields)
        encoder = Encoder(size_px=card.size_px, width=card.width, embedding=card.embedding)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or folder} is missing: run `dvc repro pretrain` to make it") from None
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} holds no readable model ({error}): run `dvc repro --force pretrain`") from None
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        sentence = " ".join(str(error).split())
        raise UserError(f"{folder}: the weights do not fit model.json ({sentence}): train the model again") from None
    return encoder.eval(), card


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
