"""Probe heads that came with the weights of a method: what they predict for the test images of their task."""

import math
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from fabnet import probe_head
from fabnet.probe_head import FittedHead
from stages.evaluation import labelled
from stages.evaluation.labelled import Images, Task
from stages.evaluation.scores import Predictions
from stages.runtime import tables
from stages.runtime.errors import UserError


def predictions(embeddings: Path, images: Images, task: Task, rejects: tables.Rejects) -> Predictions | None:
    """Truth and prediction of every test image, in the units of the report; None without a head for this task.

    A head with other outputs or for other embeddings than the task has is a reject.

    Raises:
        UserError: the head cannot be read.
    """
    path = embeddings / "own_heads" / f"{task.dataset}.{task.name}.safetensors"
    if not path.exists():
        return None
    state = _read(path, images.device)
    expected, found = (images.y.shape[1], images.x.shape[1]), tuple(state["1.weight"].shape)
    if found != expected:
        detail = f"expected outputs and dimensions {expected}, found {found}"
        task.reject(rejects, "own_head", "the head of the weights does not fit", detail)
        return None
    head = FittedHead(probe_head.layers(state), task.module.link, math.nan, {})
    return labelled.predict(head, images, "test", task)


def _read(path: Path, device: torch.device) -> dict[str, torch.Tensor]:
    try:
        return {name: value.to(device) for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable probe head ({error}): run `dvc repro --force embed`") from None
