"""What the page shows besides results: counts, detection rates, images, rejects, loss and learning curves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class LearningCurves:
    """The headline metric of one task on the validation split over training steps, mean over seeds."""

    dataset: str
    task: str
    metric: str
    points: Mapping[str, Sequence[tuple[int, float]]]  # method -> step and value, rising; step 0 alone: not trained


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
    values_of: dict[tuple[str, str, str], dict[str, dict[int, list[float]]]] = {}
    for run in runs:
        for row in tables.read(metrics / run.folder / "learning_curves.parquet", tables.LEARNING_CURVES).to_pylist():
            of_task = values_of.setdefault((row["dataset"], row["task"], row["metric"]), {})
            of_task.setdefault(run.method, {}).setdefault(row["step"], []).append(row["value"])
    return [
        LearningCurves(
            *key,
            {
                method: [(step, sum(values) / len(values)) for step, values in sorted(of_method.items())]
                for method, of_method in of_task.items()
            },
        )
        for key, of_task in sorted(values_of.items())
    ]


def sweeps(metrics: Path, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The chosen row of the sweep of every probe."""
    return [
        {"method": run.method, "seed": run.seed, **row}
        for run in runs
        for row in tables.read(metrics / run.folder / "sweeps.parquet", tables.SWEEPS).to_pylist()
        if row["is_chosen"]
    ]
