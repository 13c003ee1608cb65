"""The report as one self-contained HTML page."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from stages.evaluation import scores
from stages.evaluation.scores import axis, number, printed
from stages.reporting import answers, comparison, doubts, few_shot, framing, health, parts
from stages.reporting.comparison import FEW, Standing
from stages.reporting.contents import Converged, LearningCurves, LossCurve
from stages.reporting.health import Health
from stages.reporting.results import CONTROL, CONTROLS, Tested, by_method
from stages.runtime.params import Params

Row = Mapping[str, Any]  # of METRICS

HERE = Path(__file__).parent

# Width of the page below which the tables with a column per method become cards: what they need beside the methods, and
# for each method.
CARDS_REM, COLUMN_REM = 16, 5.75


@dataclass(frozen=True)
class Content:
    """Everything that the page shows but for the figures drawn from it."""

    params: Params
    config_hash: str
    code_hash: str
    rows: Sequence[Row]  # pooled over seeds
    seed_rows: Sequence[Row]  # of every seed by itself
    own_heads: Sequence[Row]  # of every seed: heads that came with weights
    tasks: Sequence[Tested]
    differences: Sequence[Row]  # of DIFFERENCES
    leads: Sequence[Row]  # of DIFFERENCES: the best method of each task and metric minus every other one
    sensitivity: Sequence[Row]  # of CROP_SENSITIVITY
    counts: Sequence[Row]
    copies: Sequence[Row]  # of COPIES
    probe_rejects: Sequence[Row]  # of REJECTS, with method and seed: those that doubt whole results
    yields: Sequence[Row]
    framing: Sequence[Row]
    sheets: Sequence[Row]
    rejects: Sequence[Row]
    sweeps: Sequence[Row]
    few_shot: Sequence[Row]  # of FEW_SHOT_MEANS
    parts: Sequence[Row]  # of PART_SCORES, with method and seed
    part_differences: Sequence[Row]  # of PART_DIFFERENCES, with method and seed
    further_probes: Mapping[str, Converged]  # what other probes are for
    loss_curves: Sequence[LossCurve]
    learning_curves: Sequence[LearningCurves]
    health: Sequence[Health]
    illustrations: Mapping[str, bytes]  # JPEG, by name
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Figures:
    """The figures of the page as PNG."""

    summary: bytes
    loss_curves: bytes
    learning_curves: bytes
    health: bytes
    roc_pr: Mapping[str, bytes]  # by task
    crop: Mapping[str, bytes]  # metrics over what is changed of the crop


def render(content: Content, figures: Figures) -> str:
    """The page; names from the data are escaped."""
    params = content.params
    standings = comparison.standings(content.tasks, content.rows, content.leads, content.differences)
    headlines = {(task.dataset, task.task, task.metrics[0]) for task in content.tasks}
    return template("page.html").render(
        profile=params.profile,
        is_synthetic=all(params.dataset[name].fetch.source == "synthetic" for name in params.datasets),
        config_hash=content.config_hash,
        code_hash=content.code_hash,
        seeds=sorted(params.seeds),
        methods=params.methods,
        confidence_percent=f"{100 * params.probe.confidence:g}",
        has_control=CONTROL in params.methods,
        few=FEW,
        cards_below_rem=CARDS_REM + COLUMN_REM * len(params.methods),
        answers=answers.paragraphs(
            standing for standing in standings if (standing.dataset, standing.task, standing.metric) in headlines
        ),
        edges=answers.edges(content.sweeps),
        unconverged=answers.unconverged(content.sweeps),
        further_unconverged=answers.further_unconverged(content.further_probes),
        collapsed=health.collapsed(content.health),
        causes=health.causes(content.health),
        doubts=doubts.sentences(content.probe_rejects, content.copies, content.rows),
        copies=doubts.table(content.copies, content.counts),
        headline=_headline(content, standings),
        own_heads=_own_heads(content),
        differences=[comparison.table(content.differences, control) for control in CONTROLS],
        details=[
            detail
            for task in content.tasks
            for metric in task.metrics
            if (detail := _detail(content, task, metric))["rows"]  # none where the metric is undefined
        ],
        parts=parts.by_method_and_part(content.parts, content.part_differences, content.rows, content.tasks),
        counts=content.counts,
        yields=content.yields,
        framing=content.framing,
        apart=list(framing.warned(content.framing, params)),
        sheets=[{**sheet, "jpeg": _base64(sheet["jpeg"])} for sheet in content.sheets],
        rejects=content.rejects,
        sweeps=_sweeps(content),
        few_shot=few_shot.table(content.few_shot, params),
        versions=sorted(content.versions.items()),
        settings=json.dumps(params.model_dump(mode="json"), indent=1),
        summary_png=_base64(figures.summary),
        loss_curves_png=_base64(figures.loss_curves),
        learning_curves_png=_base64(figures.learning_curves),
        health_png=_base64(figures.health),
        roc_pr_png={name: _base64(png) for name, png in figures.roc_pr.items()},
        crop_images=params.perturb.images,
        crop_png={name: _base64(png) for name, png in figures.crop.items()},
        illustrations={name: _base64(jpeg) for name, jpeg in content.illustrations.items()},
    )


def template(name: str, folder: Path = HERE) -> Template:
    """A template of `folder`, which may extend and include those of this folder; its values are escaped."""
    loader = FileSystemLoader([folder, HERE])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(name)


def title(task: Tested) -> str:
    """`affectnet · expression`."""
    return f"{task.dataset} · {task.task}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _headline(content: Content, standings: Sequence[Standing]) -> dict[str, Any]:
    """One row per task and metric, one column per method: the mean target on the whole test split."""
    published = [_published(standing.rows.values(), standing.metric) for standing in standings]
    return {
        "has_published": any(published),
        "rows": [
            {
                "title": f"{standing.dataset} · {standing.task}",
                "note": axis(standing.metric),
                "n": standing.n,
                "is_few": standing.is_small,
                "cells": [_headline_cell(standing, method, content) for method in content.params.methods],
                "published": of_task,
            }
            for standing, of_task in zip(standings, published, strict=True)
        ],
        "without_weights": _without_weights(content.params),
    }


def _own_heads(content: Content) -> dict[str, Any] | None:
    """Heads that came with weights, the same for every seed: a row per task and metric, a column per method."""
    first = min(content.params.seeds)
    rows = [row for row in content.own_heads if row["target"] == scores.MEAN and row["seed"] == first]
    if not rows:
        return None
    columns = list(dict.fromkeys(row["method"] for row in rows))
    of_task: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        of_task.setdefault((row["dataset"], row["task"], row["metric"]), {})[row["method"]] = row
    lines = [_own_head_line(of_method, columns) for of_method in of_task.values()]
    return {"columns": columns, "rows": lines, "has_published": any(line["published"] for line in lines)}


def _own_head_line(of_method: Mapping[str, Row], columns: Sequence[str]) -> dict[str, Any]:
    first = next(iter(of_method.values()))
    return {
        "title": f"{first['dataset']} · {first['task']}",
        "note": axis(first["metric"]),
        "n": first["n"],
        "is_few": first["groups"] < FEW,
        "cells": [_cell(of_method.get(method)) for method in columns],
        "published": _published(of_method.values(), first["metric"]),
    }


def _headline_cell(standing: Standing, method: str, content: Content) -> dict[str, Any] | None:
    """The best of a task that decides something is marked, with all that tie with it."""
    row = standing.rows.get(method)
    is_best = standing.is_decided and len(standing.rows) > 1 and method in standing.tied
    return _with_spread(_cell(row, mark="best" if is_best else ""), content, row)


def _sweeps(content: Content) -> dict[str, Any]:
    """The chosen L2: a row per task, a column per method, one value per seed."""
    chosen: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in content.sweeps:
        chosen.setdefault((row["dataset"], row["task"]), {}).setdefault(row["method"], []).append(row)
    return {
        "rows": [
            {
                "title": f"{dataset} · {task}",
                "note": "",
                "n": None,
                "is_few": False,
                "cells": [_l2(of_task.get(method, [])) for method in content.params.methods],
            }
            for (dataset, task), of_task in chosen.items()
        ]
    }


def _l2(chosen: Sequence[Row]) -> dict[str, str] | None:
    if not chosen:
        return None
    edges = dict.fromkeys(f"the {row['edge']}" for row in chosen if row["edge"])
    doubts = [*edges, *(["not converged"] if not all(row["is_converged"] for row in chosen) else [])]
    return {
        "value": ", ".join(f"{row['l2']:g}" for row in chosen),
        "interval": " and ".join(doubts),
        "mark": "edge" if doubts else "",
    }


def _published(rows: Iterable[Row], metric: str) -> dict[str, str] | None:
    """The published value, and our value minus it."""
    row = next((row for row in rows if row["published"] is not None), None)
    if row is None:
        return None
    difference = number(metric, row["value"] - row["published"], signed=True)
    return {"value": number(metric, row["published"]), "method": row["method"], "difference": difference}


def _without_weights(params: Params) -> list[str]:
    """Methods that could be compared if the user supplied their weights."""
    empty = [name for name, settings in params.method.items() if settings.get("weights") == ""]
    return sorted(set(empty) - set(params.methods))


def _detail(content: Content, task: Tested, metric: str) -> dict[str, Any]:
    """Every target on the whole test split, and the mean on the owner's subsets; one column per method."""
    lines = {
        (row["split"], row["target"]): {"n": row["n"], "positives": row["positives"], "is_few": row["groups"] < FEW}
        for row in content.rows
        if (row["dataset"], row["task"], row["metric"]) == (task.dataset, task.task, metric)
        and (row["split"] == "test" or row["target"] == scores.MEAN)
    }
    order = [scores.MEAN, *task.classes]
    rows: list[dict[str, Any]] = []
    for split, target in sorted(lines, key=lambda line: (line[0], _rank(order, line[1]), line[1])):
        of_method = by_method(content.rows, task.dataset, task.task, metric, split=split, target=target)
        cells = [_cell(of_method.get(method)) for method in content.params.methods]
        of_line = lines[split, target]
        note = split if split != "test" else ""
        rows.append({"title": target, "note": note, **of_line, "cells": cells})
    name = f"detail-{task.dataset}-{task.task}-{metric}"
    return {"id": name, "title": title(task), "axis": axis(metric), "rows": rows}


def _rank(order: Sequence[str], target: str) -> int:
    return order.index(target) if target in order else len(order)


def _with_spread(cell: dict[str, Any] | None, content: Content, row: Row | None) -> dict[str, Any] | None:
    """The cell with the lowest and the highest value of a seed, if there are several seeds."""
    if cell is None or row is None or len(content.params.seeds) == 1:
        return cell
    names = ("method", "dataset", "task", "split", "metric", "target")
    values = [other["value"] for other in content.seed_rows if all(other[name] == row[name] for name in names)]
    low, high = (number(row["metric"], value) for value in (min(values), max(values)))
    return {**cell, "seeds": f"{low} to {high}"}


def _cell(row: Row | None, *, mark: str = "") -> dict[str, Any] | None:
    return None if row is None else {**vars(printed(row)), "mark": mark}
