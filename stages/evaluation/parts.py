"""Named parts of an embedding: each is probed by itself on every task, as the whole embedding is.

Rows are those of tables.PART_SCORES, on the whole test split.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from stages.evaluation import columns, identities, labelled, scores
from stages.evaluation.labelled import Images, Task
from stages.evaluation.scores import Bootstrap, Score
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import ProbeParams

Parts = Mapping[str, tuple[int, int]]  # start and end of each in the embedding


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


def of_task(
    images: Images, task: Task, parts: Parts, params: ProbeParams, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    """Every metric of a task for each part, whose probe is fitted to that part alone."""
    for part, (start, end) in parts.items():
        cut = replace(images, x=np.ascontiguousarray(images.x[:, start:end]))
        tested = labelled.predict(labelled.fit(cut, task, params), cut, "test", task)
        for metric in task.settings.metrics:
            yield from _rows(scores.score(metric, [tested], bootstrap), task.dataset, task.name, part)


def of_identities(
    frames: pa.Table, dataset: str, parts: Parts, bootstrap: Bootstrap, device: torch.device
) -> Iterator[dict[str, Any]]:
    """How far each part of the embeddings of track frames tells identities apart."""
    place = frames.column_names.index("embedding")
    x = columns.matrix(frames["embedding"])
    for part, (start, end) in parts.items():
        cut = pa.array(list(x[:, start:end]), frames.schema.field(place).type)
        names, shares = identities.leakage(frames.set_column(place, "embedding", cut), device)
        if names:
            yield from _rows(scores.score(scores.IDENTITY, [shares], bootstrap), dataset, scores.IDENTITY, part)


def _rows(found: Iterable[Score], dataset: str, task: str, part: str) -> Iterator[dict[str, Any]]:
    """Scores that are defined; `rejects` of the whole embedding says which are not."""
    for score in found:
        if not np.isnan(score.value):
            yield {"dataset": dataset, "task": task, "part": part, "split": "test", **score.row}
