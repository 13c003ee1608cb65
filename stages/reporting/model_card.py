"""The model card of a model file: training, data, metrics and limits."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fabnet.modules.model_file import Description
from stages.evaluation import scores
from stages.runtime import plugins, tables
from stages.runtime.params import Params

SHARED = ("optimiser", "lr", "momentum", "weight_decay", "batch")  # training settings that all methods share


def render(description: Description, params: Params, *, splits: Path, metrics: Path) -> str:
    """The card as Markdown; `metrics` is the folder of the same run.

    Raises:
        UserError: a table is missing.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    data = list(_data(description, params, splits))
    return environment.get_template("model_card.md").render(
        description=description,
        profile=params.profile,
        weights=description.settings.get("weights_sha256"),
        settings=_settings(description, params),
        data=data,
        is_synthetic=any(row["is_synthetic"] for row in data),
        is_real=any(not row["is_synthetic"] for row in data),
        confidence_percent=f"{100 * params.probe.confidence:g}",
        metrics=list(_metrics(metrics)),
        boxed=sorted(params.boxed_sets),
    )


def _settings(description: Description, params: Params) -> list[tuple[str, Any]]:
    """The method's own settings, and those of training if it was trained; without the path of a weight file."""
    shared = {name: getattr(params.pretrain, name) for name in SHARED} if description.steps else {}
    settings = {**shared, **description.settings, "seed": description.seed}
    return [(name, value) for name, value in settings.items() if name != "weights"]


def _data(description: Description, params: Params, splits: Path) -> Iterator[dict[str, Any]]:
    """The data sets behind the model, with the number of images in each split and their owner."""
    uses = dict.fromkeys(description.trained_on, ("pre-training", splits / "tracks"))
    uses |= dict.fromkeys(sorted({head.dataset for head in description.heads}), ("probes", splits / "faces"))
    for name, (use, folder) in uses.items():
        images = Counter(tables.read(folder / f"{name}.parquet", tables.SPLITS)["split"].to_pylist())
        is_synthetic = name in (description.synthetic or ())
        owner = plugins.load("stages.datasets", name).OWNER
        origin = "synthetic, made by this project in its owner's format" if is_synthetic else owner
        counts = {split: f"{images[split]:,}" for split in tables.SPLIT_NAMES}
        yield {"dataset": name, "use": use, "counts": counts, "origin": origin, "is_synthetic": is_synthetic}


def _metrics(metrics: Path) -> Iterator[dict[str, Any]]:
    """The value of every metric for the whole of each task, printed."""
    for row in tables.read(metrics / "metrics.parquet", tables.SCORES).to_pylist():
        if row["split"] == "test" and row["target"] == scores.MEAN:
            yield {**row, **vars(scores.printed(row)), "metric": scores.axis(row["metric"])}
