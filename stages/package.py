"""Pack every trained method with its fitted probes into one file, and write its model card beside it.

Reads: models, what the probes wrote, splits.
Writes: <method>-<seed>/model.safetensors (see `fabnet.inference.model_file`), <method>-<seed>/README.md, rejects.

Probes without a head, which ask neighbours in the training split, stay behind. An encoder of the user's own (`own`) is
a reject: it may be a program, which nobody should get by loading a model file.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fabnet.inference import model_file
from fabnet.inference.loading import BROUGHT
from fabnet.inference.model_file import Crop, Description, Head
from fabnet.modules.method import Method
from stages.reporting import model_card, results
from stages.runtime import command, config, tables
from stages.runtime.errors import UserError
from stages.runtime.params import DetectParams, Params
from stages.storage import journals
from stages.training import models

log = logging.getLogger(__name__)

BOX = "the smallest square around the box, edges at the nearest whole pixels, black outside the picture"
SCALING = "to crop_px by the mean of areas where it shrinks, linear where it grows; then bilinear, anti-aliased"


def run(
    *, models: Path, metrics: Path, splits: Path, out: Path, journal: Path = Path(".journal"), params: Params
) -> None:
    """Write one folder for every method and seed.

    Raises:
        UserError: what is there is not what the parameters ask for, or cannot be read.
    """
    results.check(metrics, params)
    work = journals.folder(journal, "package", out.name) / "whole"
    shutil.rmtree(work, ignore_errors=True)
    rejects: list[dict[str, str]] = []
    for each in results.expected_runs(params):
        if each.method == BROUGHT:
            reason = "an encoder of your own may be a program: it is used from its own file"
            rejects.append({"dataset": "", "key": each.folder, "stage": "package", "reason": reason})
            continue
        description = _pack(models / each.folder, metrics / each.folder, work / each.folder, params)
        card = model_card.render(description, params, splits=splits, metrics=metrics / each.folder)
        (work / each.folder / "README.md").write_text(card, encoding="utf-8")
    tables.write_rejects(work / "rejects.parquet", rejects)
    journals.move_into_place(work, out)
    journals.forget(work.parent)
    log.info("package: %d models, %d rejects", len(results.expected_runs(params)) - len(rejects), len(rejects))


def _pack(model: Path, metrics: Path, out: Path, params: Params) -> Description:
    """Write the model file of one run; returns what it says."""
    method, card = models.load_method(model)
    found = dict(_heads(metrics, params))
    description = Description(
        method=card.method,
        settings=card.settings,
        size_px=card.size_px,
        dims=_dims(method, card.size_px),
        seed=card.seed,
        steps=card.steps,
        trained_on=tuple(card.trained_on),
        crop=_crop(params.detect),
        heads=tuple(found),
        config_hash=config.digest(params),
    )
    states = {head.name: state for head, state in found.items()}
    out.mkdir(parents=True)
    save_file(model_file.tensors(method, states), out / model_file.NAME, description.metadata())
    return description


def _dims(method: Method, size_px: int) -> int:
    with torch.inference_mode():
        return method.encoder(torch.zeros(1, 3, size_px, size_px)).flatten(1).shape[1]


def _crop(params: DetectParams) -> Crop:
    """The cut of stages/detect.py, which needs no annotated box."""
    return Crop(
        detector=params.detector,
        weights_sha256=params.weights_sha256,
        upsample=tuple(params.upsample),
        min_score=params.min_score,
        margin_frac=0.0,
        crop_px=params.crop_px,
        box=BOX,
        scaling=SCALING,
    )


def _heads(metrics: Path, params: Params) -> Iterator[tuple[Head, dict[str, Tensor]]]:
    """Every fitted probe of one run with its weights, named so that no two have the same name."""
    strengths = _strengths(metrics)
    tasks = [(dataset, task) for dataset in params.face_sets for task in sorted(params.dataset[dataset].tasks)]
    tasks = [task for task in tasks if task in strengths]
    count = Counter(task for _, task in tasks)
    for dataset, task in tasks:
        settings = params.dataset[dataset].tasks[task]
        state = _state(metrics / "heads" / f"{dataset}.{task}.safetensors")
        columns = tuple(settings.classes) or _coordinates(len(state["1.weight"]))
        name = task if count[task] == 1 else f"{dataset}_{task}"
        yield Head(name, dataset, task, settings.probe, columns, strengths[dataset, task]), state


def _strengths(metrics: Path) -> dict[tuple[str, str], float]:
    """The strength of L2 that was chosen for each task whose probe was fitted."""
    rows = tables.read(metrics / "sweeps.parquet", tables.SWEEPS).to_pylist()
    return {(row["dataset"], row["task"]): row["l2"] for row in rows if row["is_chosen"]}


def _state(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no readable probe ({error}): run `dvc repro --force probe`") from None


def _coordinates(count: int) -> tuple[str, ...]:
    return tuple(f"{axis}{point}" for point in range(count // 2) for axis in "xy")


if __name__ == "__main__":
    command.main(run, __doc__)
