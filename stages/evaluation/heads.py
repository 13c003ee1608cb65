"""Probe heads in files."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fabnet import probe_head
from fabnet.probe_head import FittedHead
from stages.evaluation.labelled import Task
from stages.runtime import files
from stages.runtime.errors import UserError


def read(path: Path, *, made_by: str) -> dict[str, Tensor]:
    """The weights in a file that the stage `made_by` wrote.

    Raises:
        UserError: it cannot be read.
    """
    files.read_through(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable probe head ({error}): run `dvc repro --force {made_by}`") from None


def fitted(state: Mapping[str, Tensor], task: Task, device: torch.device) -> FittedHead:
    """The probe of a task with these weights.

    Raises:
        KeyError, RuntimeError: a weight is missing or does not fit.
    """
    on_device = {name: weight.to(device) for name, weight in state.items()}
    return FittedHead(probe_head.layers(on_device), task.module.link, math.nan, {})
