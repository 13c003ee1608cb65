"""Add the fitted probe heads and the face crop to the model file of one method and seed, and write its model card.

Reads: a model folder, the metrics and probe heads of the same run, splits.
Writes: model.safetensors (see `fabnet.modules.model_file`), README.md, rejects.

Retrieval probes have no head and are left out. An encoder of the user's own (`own`) is a reject: it may contain
executable code, which a model file must not bring along. Then the rejects table is all that is written.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from fabnet.inference.loading import EXECUTABLE
from fabnet.modules import model_file
from fabnet.modules.face_crop import Crop
from fabnet.modules.model_file import Description, HeadDescription
from stages.evaluation import heads
from stages.reporting import model_card, results
from stages.runtime import command, config, outputs, tables
from stages.runtime.params import DetectParams, Params
from stages.training import models

log = logging.getLogger(__name__)


def run(
    method: str,
    *,
    model: Path,
    metrics: Path,
    splits: Path,
    out: Path,
    params: Params,
) -> None:
    """Write the folder `out` of one method and seed.

    Raises:
        UserError: model or metrics do not match the parameters, or cannot be read.
    """
    results.check_run(metrics, params)
    rejects = tables.Rejects("package")
    with outputs.replaced(out) as whole:
        if method == EXECUTABLE:
            kind, detail = "an encoder of your own may contain executable code", "it is used from its own file"
            rejects.add("", out.name, kind, detail)
            log.info("package %s: not packed, since %s", out.name, kind)
        else:
            description = _pack(model, metrics, whole, params)
            card = model_card.render(description, params, splits=splits, metrics=metrics)
            (whole / "README.md").write_text(card, encoding="utf-8")
            log.info("package %s: %d heads", out.name, len(description.heads))
        rejects.write(whole / "rejects.parquet")


def _pack(model: Path, metrics: Path, out: Path, params: Params) -> Description:
    """Write the model file of one run with its heads; returns the description in it."""
    method, description = models.load(model)
    fitted = dict(_heads(metrics, params))
    packed = replace(
        description,
        crop=_crop(params.detect, description.size_px),
        heads=tuple(fitted),
        config_hash=config.digest(params),
    )
    rendered = [name for name in packed.datasets if params.dataset[name].fetch.source == "synthetic"]
    packed = replace(packed, synthetic=tuple(rendered))
    model_file.write(out / model_file.NAME, packed, method, {head.name: state for head, state in fitted.items()})
    return packed


def _crop(params: DetectParams, size_px: int) -> Crop:
    """The crop of stages/detect.py, which needs no annotated box, for a network of that input side."""
    return Crop(
        detector=params.detector,
        weights_sha256=params.weights_sha256,
        upsample=tuple(params.upsample),
        min_score=params.min_score,
        margin_frac=params.margin_frac,
        crop_px=size_px if size_px in params.further_px else params.crop_px,
    )


def _heads(metrics: Path, params: Params) -> Iterator[tuple[HeadDescription, dict[str, Tensor]]]:
    """Every fitted probe head of one run with its weights, under names that are unique."""
    l2 = _chosen_l2(metrics)
    tasks = [(dataset, task) for dataset in params.face_sets for task in sorted(params.dataset[dataset].tasks)]
    tasks = [task for task in tasks if task in l2]
    count = Counter(task for _, task in tasks)
    for dataset, task in tasks:
        settings = params.dataset[dataset].tasks[task]
        state = heads.read(metrics / "heads" / f"{dataset}.{task}.safetensors", made_by="probe")
        columns = tuple(settings.classes) or model_file.coordinates(len(state["1.weight"]) // 2)
        name = task if count[task] == 1 else f"{dataset}_{task}"
        yield HeadDescription(name, dataset, task, settings.probe, columns, l2[dataset, task]), state


def _chosen_l2(metrics: Path) -> dict[tuple[str, str], float]:
    """The chosen L2 weight of each task (data set, task) whose probe was fitted."""
    rows = tables.read(metrics / "sweeps.parquet", tables.SWEEPS).to_pylist()
    return {(row["dataset"], row["task"]): row["l2"] for row in rows if row["is_chosen"]}


if __name__ == "__main__":
    command.main(run, __doc__)
