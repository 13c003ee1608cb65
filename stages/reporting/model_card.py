"""The model card: what a model file was made from, what it is worth and what it is not for."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fabnet.modules.model_file import Description
from stages.evaluation import scores
from stages.runtime import plugins, tables
from stages.runtime.params import Params

SHARED = ("optimiser", "lr", "momentum", "weight_decay", "batch")  # settings of training that all methods share


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
        is_rendered=any(row["is_rendered"] for row in data),
        is_real=any(not row["is_rendered"] for row in data),
        confidence_percent=f"{100 * params.probe.confidence:g}",
        metrics=list(_metrics(metrics)),
        boxed=sorted(params.boxed_sets),
    )


def _settings(description: Description, params: Params) -> list[tuple[str, Any]]:
    """The method's own settings, and those of training if it was trained; the path of a weight file tells nothing."""
    shared = {name: getattr(params.pretrain, name) for name in SHARED} if description.steps else {}
    found = {**shared, **description.settings, "seed": description.seed}
    return [(name, value) for name, value in found.items() if name != "weights"]


def _data(description: Description, params: Params, splits: Path) -> Iterator[dict[str, Any]]:
    """The data sets that the model saw, with images of each split and whom they come from."""
    uses = dict.fromkeys(description.trained_on, ("pre-training", splits / "tracks"))
    uses |= dict.fromkeys(sorted({head.dataset for head in description.heads}), ("probes", splits / "faces"))
    for name, (use, folder) in uses.items():
        images = Counter(tables.read(folder / f"{name}.parquet", tables.SPLITS)["split"].to_pylist())
        is_rendered = params.dataset[name].fetch.source == "synthetic"
        owner = plugins.load("stages.datasets", name).OWNER
        origin = "rendered by this project in its owner's format" if is_rendered else owner
        counts = {split: f"{images[split]:,}" for split in ("train", "val", "test")}
        yield {"dataset": name, "use": use, "counts": counts, "origin": origin, "is_rendered": is_rendered}


def _metrics(metrics: Path) -> Iterator[dict[str, Any]]:
    """The value of every metric for the whole of each task, printed."""
    for row in tables.read(metrics / "metrics.parquet", tables.SCORES).to_pylist():
        if row["split"] == "test" and row["target"] == scores.MEAN:
            yield {**row, **vars(scores.printed(row)), "metric": scores.axis(row["metric"])}
