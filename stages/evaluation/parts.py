"""Named parts of an embedding: each is probed by itself on every task, as the whole embedding is.

If parts hold what their names say, the probe of `pose` reads the pose better than those of the other parts do, and
expression worse: the differences between parts say so, paired by test image. All is on the whole test split.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from stages.evaluation import columns, identities, labelled, scores, sweeps
from stages.evaluation.labelled import Images, Task, TaskName
from stages.evaluation.scores import Bootstrap, Predictions
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import ProbeParams

Parts = Mapping[str, tuple[int, int]]  # start and end of each in the embedding
Row = dict[str, Any]


class Told(NamedTuple):
    """What the probe of one part says of the test split."""

    predictions: Predictions
    is_converged: bool | None  # as in LEARNING_CURVES


def named(path: Path) -> Parts:
    """The parts of the embeddings in a table, which was read before.

    Raises:
        UserError: what it says about them is damaged.
    """
    found = (pq.read_schema(path).metadata or {}).get(tables.PARTS.encode(), b"{}")
    try:
        return {name: (int(start), int(end)) for name, (start, end) in json.loads(found).items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise UserError(f"{path} should name the parts of its embeddings: run `dvc repro --force embed`") from None


@dataclass
class Probed:
    """Rows of the tables of parts."""

    scores: list[Row] = field(default_factory=list[Row])  # of PART_SCORES
    differences: list[Row] = field(default_factory=list[Row])  # of PART_DIFFERENCES

    def add(self, tested: Mapping[str, Told], task: TaskName, metrics: Sequence[str], bootstrap: Bootstrap) -> None:
        """Score the parts of one task, and the headline of each against that of every part before it in the alphabet.

        A metric that is undefined is left out; `rejects` of the whole embedding says which are.
        """
        of_task = {"dataset": task.dataset, "task": task.name}
        for part, (predictions, is_converged) in tested.items():
            for score in (score for metric in metrics for score in scores.score(metric, [predictions], bootstrap)):
                if not np.isnan(score.value):
                    row = {**of_task, "part": part, "split": "test", "is_converged": is_converged}
                    self.scores.append({**row, **score.row})
        for other, part in combinations(sorted(tested), 2):
            difference = scores.compare(metrics[0], [tested[part].predictions], [tested[other].predictions], bootstrap)
            if difference is not None and not np.isnan(difference.value):
                self.differences.append({**of_task, "part": part, "other": other, **difference.row})


def of_task(images: Images, task: Task, parts: Parts, params: ProbeParams) -> dict[str, Told]:
    """What the probe of each part, which is fitted to that part alone, says of the test images."""
    told: dict[str, Told] = {}
    for part, (start, end) in parts.items():
        cut = replace(images, x=np.ascontiguousarray(images.x[:, start:end]))
        fitted = labelled.fit(cut, task, params)
        told[part] = Told(labelled.predict(fitted, cut, "test", task), sweeps.is_converged(fitted))
    return told


def of_identities(frames: pa.Table, parts: Parts, device: torch.device) -> dict[str, Told]:
    """How far each part of the embeddings of track frames tells identities apart; empty if none can."""
    place = frames.column_names.index("embedding")
    x = columns.matrix(frames["embedding"])
    told: dict[str, Told] = {}
    for part, (start, end) in parts.items():
        cut = pa.array(list(x[:, start:end]), frames.schema.field(place).type)
        names, shares = identities.leakage(frames.set_column(place, "embedding", cut), device)
        if names:
            told[part] = Told(shares, None)
    return told
