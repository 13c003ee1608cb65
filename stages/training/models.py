"""Trained methods in their folders: the model file, and checkpoints of the encoder during training.

Files: `model.safetensors` (see `fabnet.modules.model_file`) and `checkpoints/<step>.safetensors`. Nothing in them is
executed, but for a program that the user supplies as an encoder (`fabnet.pretext.own`).
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as packed
from torch import nn

from fabnet.modules import devices, model_file
from fabnet.modules.method import Method
from fabnet.modules.model_file import Description
from stages.runtime import files, plugins, supplied
from stages.runtime.errors import UserError


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


def embedding_dims(method: Method, size_px: int) -> int:
    """Dimensions of the embedding of a method on the CPU, which is in evaluation mode afterwards."""
    with torch.inference_mode():
        return method.eval().encoder(torch.zeros(1, 3, size_px, size_px)).flatten(1).shape[1]


def check_parts(name: str, method: Method, size_px: int) -> None:
    """Nothing if the parts of a method lie within its embedding; it is left as by `embedding_dims`.

    Raises:
        UserError: one of them does not, or is empty.
    """
    dims = embedding_dims(method, size_px) if method.parts else 0
    for part, (start, end) in method.parts.items():
        if not 0 <= start < end <= dims:
            raise UserError(
                f"params.yaml: method.{name}: each part should lie within the {dims} dimensions of the embedding, "
                f"found {part} from {start} to {end}: raise its embedding or change its parts"
            )


def save(folder: Path, description: Description, net: Method) -> None:
    """Write the model file of a trained method."""
    folder.mkdir(parents=True, exist_ok=True)
    model_file.write(folder / model_file.NAME, description, net)


def save_checkpoint(folder: Path, net: Method, step: int) -> None:
    """Write the weights of the encoder after `step` steps."""
    weights = {name: weight.detach().cpu().contiguous() for name, weight in net.encoder.state_dict().items()}
    files.replace_bytes(folder / "checkpoints" / f"{step:08d}.safetensors", packed(weights))


def checkpoints(folder: Path) -> dict[int, Path]:
    """Weight files of the encoder by step, ascending; without the final one."""
    return {int(path.stem): path for path in sorted((folder / "checkpoints").glob("*.safetensors"))}


def load(folder: Path, checkpoint: Path | None = None) -> tuple[Method, Description]:
    """The method in evaluation mode on the CPU and its description; with `checkpoint`, its encoder has those weights.

    Raises:
        UserError: files missing, damaged, of another format, or weights that do not fit the description.
    """
    path = folder / model_file.NAME
    if not path.exists():
        raise UserError(f"{path} is missing: run `dvc repro pretrain` to make it")
    try:
        description, tensors = model_file.read(path)
        method = model_file.restore(plugins.load("fabnet.pretext", description.method), description, tensors)
    except ValueError as error:
        raise UserError(f"{path} is not a usable model file: {error}; run `dvc repro --force pretrain`") from None
    if checkpoint is not None:
        _fill(method.encoder, checkpoint)
    return method, description


def _fill(encoder: nn.Module, checkpoint: Path) -> None:
    files.read_through(checkpoint)
    try:
        encoder.load_state_dict(load_file(checkpoint))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{checkpoint} is not a usable checkpoint ({reason}): run `dvc repro --force pretrain`"
        ) from None


def device(name: str) -> torch.device:
    """`fabnet.modules.devices.device` for a parameter.

    Raises:
        UserError: the device that was asked for is not available.
    """
    try:
        return devices.device(name)
    except ValueError as error:
        raise UserError(f"params.yaml: {error}") from None
