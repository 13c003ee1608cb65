"""What a fitted probe says of the same test images under every change of the crop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.probe_head import Crops, Probe
from stages.evaluation import columns, scores
from stages.evaluation.labelled import Images, Task
from stages.evaluation.scores import Bootstrap, Predictions
from stages.runtime import tables
from stages.sensitivity.recutting import UNCHANGED, Change


@dataclass(frozen=True)
class Recut:
    """Test images of one data set, each under every change."""

    changes: Sequence[Change]  # C
    ids: Sequence[str]  # N
    boxes: NDArray[np.float64]  # (N, C, 4) continuous edges in the source image
    x: NDArray[np.float32]  # (N, C, D)


def rows(
    probe: Probe, images: Images, recut: Recut, task: Task, *, bootstrap: Bootstrap, rejects: tables.Rejects
) -> Iterator[dict[str, Any]]:
    """Rows of SENSITIVITY: every metric for every scale and every shift, which is averaged over its directions.

    What is undefined on these images is added to `rejects`.
    """
    predicted = list(told(probe, images, recut, task))
    unchanged = [predicted[recut.changes.index(UNCHANGED)]]
    if not len(unchanged[0].truth):
        task.reject(rejects, "test", "no image with a usable label")
        return
    of_size = groupby(zip(recut.changes, predicted, strict=True), lambda pair: (pair[0].scale, pair[0].shift))
    for (scale, shift), group in of_size:
        runs = [predictions for _, predictions in group]
        for metric in task.settings.metrics:
            change = scores.compare(metric, runs, unchanged, bootstrap)
            score = scores.whole(metric, runs, bootstrap)
            if change is None or score is None:
                task.reject(rejects, f"{scale:g}/{shift:g}", f"{metric} is undefined", "on the chosen test images")
                continue
            moved = {"change": change.value, "change_ci_low": change.ci_low, "change_ci_high": change.ci_high}
            yield {"dataset": task.dataset, "task": task.name, "scale": scale, "shift": shift, **score.row, **moved}


def told(probe: Probe, images: Images, recut: Recut, task: Task) -> Iterator[Predictions]:
    """Truth and prediction of the usable images for each change, in the units of the report."""
    place = {sample_id: row for row, sample_id in enumerate(recut.ids)}
    at = [place.get(sample_id, -1) for sample_id in images.ids.to_pylist()]
    kept = (images.split == "test") & (np.array(at) >= 0)
    used = np.array(at)[kept]
    truth = _stored(task.module.decode(images.y[kept], images.crops[kept]))
    group = columns.codes(images.group_ids.filter(pa.array(kept)))
    for number in range(len(recut.changes)):
        x: Tensor = torch.from_numpy(recut.x[used, number]).to(images.device).double()
        there = Crops(images.crops[kept].size_px, recut.boxes[used, number])
        prediction = task.module.decode(probe.predict(x).cpu().numpy(), there)
        yield Predictions(truth, _stored(prediction), tuple(task.settings.classes), group)


def _stored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `probe` stores predictions."""
    return values.astype(np.float32).astype(np.float64)
