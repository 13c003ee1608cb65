"""Few-shot probes: the same probe as on all training images, fitted to a handful of them, over several seeded draws.

Five shots of classes are five training images of each class; five shots of action units, five images that show each
unit, of which one may show several; of angles and points, five images in all. Where a class has fewer, all of its
images are taken. A draw holds the same images for every method, and its five shots are among its twenty. The L2 weight,
and the thresholds of action units, are chosen on the whole validation split as for the full probe; the test split is
whole too.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fabnet.probe_head import Samples
from stages.evaluation import labelled, scores, sweeps
from stages.evaluation.labelled import Images, Task
from stages.runtime.params import ProbeParams


def rows(images: Images, task: Task, params: ProbeParams, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of tables.FEW_SHOT: every metric of the task on the test split, for each number of shots and draw.

    A metric that is undefined on the test split has none, nor has a draw of the same images as an earlier one: where
    there are so few that every draw holds all of them, one is left.
    """
    train, val = images.samples("train"), images.samples("val")
    targets = images.y[images.split == "train"]
    settings = labelled.settings(params)
    seen: set[tuple[int, bytes]] = set()
    for draw in range(params.few_shot.draws):
        order = np.random.default_rng([seed, draw]).permutation(len(targets))
        for shots in params.few_shot.shots:
            places = chosen(targets, order, shots)
            if not len(places) or (shots, places.tobytes()) in seen:  # none: no image shows any unit
                continue
            seen.add((shots, places.tobytes()))
            drawn = torch.from_numpy(places).to(images.device)
            probe = task.module.fit(Samples(train.x[drawn], train.y[drawn]), val, settings)
            tested = labelled.predict(probe, images, "test", task)
            for metric in task.settings.metrics:
                value = scores.mean(metric, tested)
                if np.isfinite(value):
                    yield {
                        "dataset": task.dataset,
                        "task": task.name,
                        "metric": metric,
                        "better": scores.better(metric),
                        "shots": shots,
                        "draw": draw,
                        "images": len(drawn),
                        "value": value,
                        "is_converged": sweeps.is_converged(probe),
                    }


def chosen(y: NDArray[np.float64], order: NDArray[np.int64], shots: int) -> NDArray[np.int64]:
    """Rows of the targets (N, K), ascending: the first in `order` (N,), so many of each class, or in all.

    Targets are of classes or units if all of them are 0, 1 or -1 (unknown).
    """
    if not np.isin(y, (-1, 0, 1)).all():
        return np.sort(order[:shots])
    return np.unique(np.concatenate([order[y[order, column] == 1][:shots] for column in range(y.shape[1])]))
