"""What the page shows besides results: counts, detection rates, images, rejects, loss and learning curves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from stages.reporting import supplement
from stages.reporting.results import Run
from stages.runtime import tables
from stages.runtime.errors import Rejected, UserError
from stages.storage import media

# Images with a detected face in the paper's supplement, and images in its list: (data set, split).
PUBLISHED_YIELD = {("affectnet", "test"): (3989, 4000)}

SHEET_QUALITY = 75  # about 150 kB for each contact sheet
FIGURE_QUALITY = 88  # small letters stay legible


@dataclass(frozen=True)
class LossCurve:
    """Losses of one training run over its epochs."""

    method: str
    seed: int
    epochs: Sequence[int]
    losses: Mapping[str, Sequence[float]]  # train and val


class Converged(NamedTuple):
    """Probes whose chosen head is the optimum, of so many."""

    converged: int
    all: int


FURTHER_PROBES = {  # what they are for -> their table, and what tells one probe from another
    "learning curves": ("learning_curves", tables.LEARNING_CURVES, ("dataset", "task", "step")),
    "few shots": ("few_shot", tables.FEW_SHOT, ("dataset", "task", "shots", "draw")),
    "parts of embeddings": ("parts", tables.PART_SCORES, ("dataset", "task", "part")),
}


class Point(NamedTuple):
    """A value after so many steps, and its interval: means over seeds."""

    step: int
    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class LearningCurves:
    """The headline metric of one task on the validation split over training steps."""

    dataset: str
    task: str
    metric: str
    points: Mapping[str, Sequence[Point]]  # by method, steps rising; step 0 alone: not trained


def counts(splits: Path, kind: str, datasets: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Images and groups of every data set and split, and the number of images in the paper's supplement."""
    for dataset in sorted(datasets):
        table = tables.read(splits / f"{dataset}.parquet", tables.SPLITS)
        for split in tables.SPLIT_NAMES:
            of_split = table.filter(pc.field("split") == split)
            groups = len(of_split["group_id"].unique())
            row = {"dataset": dataset, "kind": kind, "split": split, "images": len(of_split), "groups": groups}
            yield {**row, "supplement": supplement.COUNTS.get((dataset, split))}


def yields(faces: Path, datasets: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Readable images, and those in which the detector found the face, by data set and split."""
    for dataset in sorted(datasets):
        table = tables.read(faces / dataset / "yield.parquet", tables.YIELDS).to_pylist()
        for split in sorted({row["owner_split"] for row in table}):
            passes = [row for row in table if row["owner_split"] == split]
            detected = sum(row["detected"] for row in passes)
            yield {
                "dataset": dataset,
                "owner_split": split,
                "images": passes[0]["images"],
                "detected": detected,
                "share": detected / max(passes[0]["images"], 1),
                "passes": ", ".join(f"{row['detected']:,} at x{2 ** row['upsample']}" for row in passes),
                "published": PUBLISHED_YIELD.get((dataset, split)),
            }


def sheets(folder: Path, datasets: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The contact sheets of every data set as JPEG, small enough for the page.

    Raises:
        UserError: a sheet is missing.
    """
    for dataset in sorted(datasets):
        for kind in ("accepted", "rejected"):
            jpeg = _as_jpeg(folder / dataset / f"{kind}.png", "a contact sheet", SHEET_QUALITY)
            yield {"dataset": dataset, "kind": kind, "jpeg": jpeg}


def illustrations(folder: Path) -> dict[str, bytes]:
    """The figures of `illustrate` by name, as JPEG.

    Raises:
        UserError: one of them cannot be read.
    """
    return {path.stem: _as_jpeg(path, "a figure", FIGURE_QUALITY) for path in sorted(folder.glob("*.png"))}


def _as_jpeg(path: Path, wanted: str, quality: int) -> bytes:
    try:
        return media.encode_jpeg(media.decode_image(media.read_file(path)), quality)
    except Rejected as error:
        raise UserError(f"{path} should be {wanted} ({error}): run `dvc repro` to make it") from None


def rejects(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """How many items each stage rejected of each kind, with the first key as an example.

    The same item rejected for several methods or seeds counts once.
    """
    rows = {
        (row["stage"], row["dataset"], row["kind"], row["key"])
        for folder in folders
        for row in tables.read(folder / "rejects.parquet", tables.REJECTS).to_pylist()
    }
    grouped = Counter(row[:3] for row in rows)
    example = {row[:3]: row[3] for row in sorted(rows, reverse=True)}
    names = ("stage", "dataset", "kind")
    return [
        {**dict(zip(names, group, strict=True)), "count": count, "example": example[group]}
        for group, count in sorted(grouped.items())
    ]


def loss_curves(models: Path, runs: Iterable[Run]) -> list[LossCurve]:
    """Training and validation loss of every run that trained."""
    curves: list[LossCurve] = []
    for run in runs:
        rows = tables.read(models / run.folder / "history.parquet", tables.HISTORY).to_pylist()
        losses = {(row["epoch"], row["split"]): row["value"] for row in rows if row["metric"] == "loss"}
        epochs = sorted({epoch for epoch, _ in losses})
        if epochs:
            of_split = {
                split: [losses.get((epoch, split), float("nan")) for epoch in epochs] for split in ("train", "val")
            }
            curves.append(LossCurve(run.method, run.seed, epochs, of_split))
    return curves


def learning_curves(metrics: Path, runs: Iterable[Run]) -> list[LearningCurves]:
    """Learning curves of every followed task, values averaged over the seeds that have a step."""
    rows_of: dict[tuple[str, str, str], dict[str, dict[int, list[Mapping[str, Any]]]]] = {}
    for run in runs:
        for row in tables.read(metrics / run.folder / "learning_curves.parquet", tables.LEARNING_CURVES).to_pylist():
            of_task = rows_of.setdefault((row["dataset"], row["task"], row["metric"]), {})
            of_task.setdefault(run.method, {}).setdefault(row["step"], []).append(row)
    return [
        LearningCurves(
            *key,
            {
                method: [_point(step, rows) for step, rows in sorted(of_method.items())]
                for method, of_method in of_task.items()
            },
        )
        for key, of_task in sorted(rows_of.items())
    ]


def _point(step: int, of_seeds: Sequence[Mapping[str, Any]]) -> Point:
    return Point(step, *(float(np.mean([row[name] for row in of_seeds])) for name in ("value", "ci_low", "ci_high")))


def further_probes(metrics: Path, runs: Iterable[Run]) -> dict[str, Converged]:
    """How many probes there are besides those in the sweeps, by what they are for, and how many of them converged.

    The last point of a learning curve is of a probe in the sweeps.
    """
    counts: dict[str, list[bool]] = {}
    for run in runs:
        for purpose, (name, schema, key) in FURTHER_PROBES.items():
            rows = tables.read(metrics / run.folder / f"{name}.parquet", schema).to_pylist()
            last = max((row.get("step", 0) for row in rows), default=0)
            fitted = {
                tuple(row[part] for part in key): row["is_converged"]
                for row in rows
                if "step" not in row or row["step"] < last
            }
            counts.setdefault(purpose, []).extend(of for of in fitted.values() if of is not None)
    return {purpose: Converged(sum(of), len(of)) for purpose, of in counts.items()}


def sweeps(metrics: Path, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The chosen row of the sweep of every probe."""
    return [
        {"method": run.method, "seed": run.seed, **row}
        for run in runs
        for row in tables.read(metrics / run.folder / "sweeps.parquet", tables.SWEEPS).to_pylist()
        if row["is_chosen"]
    ]
