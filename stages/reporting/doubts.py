"""What makes numbers of the report doubtful, as sentences: labels, embeddings, copies, values without an interval."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from stages.evaluation import collapse
from stages.evaluation.labelled import SAME_LABELS
from stages.evaluation.scores import MEAN
from stages.reporting.results import Run
from stages.runtime import tables

Row = Mapping[str, Any]
NAMED = 3  # of a kind; further ones are counted


def probe_rejects(metrics: Path, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Rows of REJECTS that doubt all results of a data set or task, each with its method and seed."""
    return [
        {"method": run.method, "seed": run.seed, **row}
        for run in runs
        for row in tables.read(metrics / run.folder / "rejects.parquet", tables.REJECTS).to_pylist()
        if row["kind"] in (SAME_LABELS, collapse.KIND)
    ]


def sentences(rejects: Sequence[Row], copies: Sequence[Row], rows: Sequence[Row]) -> list[Markup]:
    """What the first screen says of them; empty if nothing is doubtful.

    Args:
        rejects: those of `probe_rejects`.
        copies: rows of COPIES.
        rows: rows of METRICS, pooled over seeds.
    """
    return [*_same_labels(rejects), *_collapsed(rejects), *_copies(copies), *_without_interval(rows)]


def _same_labels(rejects: Iterable[Row]) -> Iterable[Markup]:
    of_task: dict[tuple[str, str], dict[str, str]] = {}
    for row in rejects:
        if row["kind"] == SAME_LABELS:
            task, split = row["key"].rsplit("/", 1)
            of_task.setdefault((row["dataset"], task), {})[split] = row["detail"]
    for (dataset, task), detail_of in of_task.items():
        listed = ", ".join(f"{split} ({detail_of[split]})" for split in tables.SPLIT_NAMES if split in detail_of)
        text = "All labels of {} {} are the same in {}: nothing is learnt from them or told apart{}."
        left_out = "; what needs two classes is left out" if "test" in detail_of else ""
        yield Markup(text).format(dataset, task.replace("_", " "), listed, left_out)


def _collapsed(rejects: Iterable[Row]) -> Iterable[Markup]:
    of_run: dict[tuple[str, int], list[Row]] = {}
    for row in rejects:
        if row["kind"] == collapse.KIND:
            of_run.setdefault((row["method"], row["seed"]), []).append(row)
    for (method, seed), found in of_run.items():
        text = "The embeddings of <code>{}</code>, seed {}, have collapsed on {}: {}."
        names = ", ".join(row["dataset"] for row in found)
        yield Markup(text).format(method, seed, names, found[0]["detail"])


def _copies(copies: Iterable[Row]) -> Iterable[Markup]:
    of_dataset: dict[str, list[Row]] = {}
    for row in copies:
        of_dataset.setdefault(row["dataset"], []).append(row)
    for dataset, found in of_dataset.items():
        text = '{} test {} of {} {} in training or validation as well, {} as the same file. <a href="#copies">Which</a>'
        nouns = ("image", "is") if len(found) == 1 else ("images", "are")
        yield Markup(text).format(len(found), nouns[0], dataset, nouns[1], sum(row["is_same"] for row in found))


def _without_interval(rows: Iterable[Row]) -> Iterable[Markup]:
    single = [row for row in rows if row["target"] == MEAN and row["groups"] == 1 and not np.isfinite(row["ci_low"])]
    names = list(dict.fromkeys((row["dataset"], row["task"], row["split"]) for row in single))
    if names:
        listed = ", ".join(" ".join(name).replace("_", " ").removesuffix(" test") for name in names[:NAMED])
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        text = "No interval on {}{}: the result is over one image, group or identity, which says nothing about others."
        yield Markup(text).format(listed, more)


def table(copies: Sequence[Row], counts: Iterable[Row]) -> list[dict[str, Any]]:
    """For every data set with copies: how many of its test images they are, and the nearest ones by name."""
    tested = {row["dataset"]: row["images"] for row in counts if row["split"] == "test"}
    of_dataset: dict[str, list[Row]] = {}
    for row in sorted(copies, key=lambda row: (row["dataset"], not row["is_same"], row["bits"], row["sample_id"])):
        of_dataset.setdefault(row["dataset"], []).append(row)
    return [
        {
            "dataset": dataset,
            "tested": tested[dataset],
            "copies": len(found),
            "same": sum(row["is_same"] for row in found),
            "examples": [(row["sample_id"], row["copy_of"], row["copy_split"]) for row in found[:NAMED]],
        }
        for dataset, found in of_dataset.items()
    ]
