"""Rows of the reference table from the report of this project."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fabnet.modules import model_file
from fabnet.modules.model_file import Description
from pipelines.results import shots
from pipelines.results.rows import CONTROLS, RENDERED, Row
from stages.evaluation import scores
from stages.reporting import parts, results, revision
from stages.runtime import config, plugins, tables
from stages.runtime.errors import UserError
from stages.runtime.params import Params

Scored = Mapping[str, Any]  # of METRICS, of DIFFERENCES


@dataclass(frozen=True)
class Said:
    """What the report does not know."""

    pack: str  # of the data sets that are not rendered
    encoder: str  # which one, if the method is `own`
    command: str  # that repeats the rows


@dataclass(frozen=True)
class Source:
    """The report of a project and what it was made from."""

    root: Path
    params: Params
    commit: str

    def report(self, name: str) -> list[Scored]:
        """The rows of a table of the report."""
        return tables.read(self.root / "data" / "reports" / f"{name}.parquet").to_pylist()


def rows(root: Path, said: Said) -> list[Row]:
    """One row for the headline of each task and method, on the whole test split, pooled over seeds.

    After these those of heads that came with weights and of parts of embeddings, both of the first seed.

    Raises:
        UserError: the report is missing or older than parameters and code, code is not committed, or something has to
            be said that `said` leaves empty.
    """
    source = _source(root)
    if missing := [control for control in CONTROLS if control not in source.params.methods]:
        raise UserError(f"methods should name the controls random and fabnet, found no {missing[0]}")
    differences = {(*_task(row), row["method"], row["control"]): row for row in source.report("differences")}
    found: list[Row] = []
    for row in _headlines(source):
        minus = {control: differences.get((*_task(row), row["method"], control)) for control in CONTROLS}
        if _is_finite(row, *(of for of in minus.values() if of is not None)):
            found.append(_row(row, minus, _probe(row, source.params), source, said))
    for row, minus in shots.scored(root, source.params):
        if row["metric"] == _headline(row, source.params) and _is_finite(row):
            found.append(_row(row, minus, f"{row['shots']}-shot", source, said))
    for row, probe in [*_own_heads(source), *_parts(source)]:
        if row["metric"] == _headline(row, source.params) and _is_finite(row):
            found.append(_row(row, {}, probe, source, said))
    return found


def _own_heads(source: Source) -> Iterator[tuple[Scored, str]]:
    """Scores of heads that came with weights, which are the same for every seed, and what to call their probe."""
    for row in source.report("own_heads"):
        if row["target"] == scores.MEAN and row["seed"] == min(source.params.seeds):
            yield row, "own_head"


def _parts(source: Source) -> Iterator[tuple[Scored, str]]:
    """Scores of the named parts of embeddings, of the first seed alone, and their probe."""
    first = [run for run in results.expected_runs(source.params) if run.seed == min(source.params.seeds)]
    for row in parts.rows(source.root / "data" / "metrics", first):
        if row["target"] == scores.MEAN:
            yield row, _probe(row, source.params)


def _source(root: Path) -> Source:
    params = config.load(root / "params.yaml")
    metrics = tables.read(root / "data" / "reports" / "metrics.parquet", tables.METRICS)
    made_from = metrics.select(["config_hash", "code_hash"]).slice(0, 1).to_pylist()
    expected = {"config_hash": config.digest(params), "code_hash": revision.code_hash(root)}
    if made_from != [expected]:
        raise UserError(f"data/reports should be of the present parameters and code {expected}, found {made_from}: "
                        "run `make repro`")  # fmt: skip
    commit = revision.commit(root)
    changed = revision.uncommitted(root)
    if commit.startswith(revision.UNKNOWN) or changed:
        what = f"changes in {', '.join(changed)}" if changed else f"a commit that is {commit}"
        raise UserError(f"the code behind the results should be committed, found {what}: commit it first")
    return Source(root, params, commit)


def _headlines(source: Source) -> Iterator[Scored]:
    for row in source.report("metrics"):
        of_task = row["seed"] is None and row["split"] == "test" and row["target"] == scores.MEAN
        if of_task and row["metric"] == _headline(row, source.params):
            yield row


def _headline(row: Scored, params: Params) -> str:
    """The first metric of the row's task."""
    task = params.dataset[row["dataset"]].tasks.get(row["task"])
    return task.metrics[0] if task else scores.IDENTITY


def _probe(row: Scored, params: Params) -> str:
    """A probe without a head looks at nearest neighbours."""
    task = params.dataset[row["dataset"]].tasks.get(row["task"])
    return "linear" if task and hasattr(plugins.load("fabnet.probes", task.probe), "link") else "neighbours"


@cache
def _description(path: Path) -> Description:
    if not path.exists():
        raise UserError(f"{path} is missing: run `dvc checkout` or `make repro`")
    return model_file.read(path)[0]


def _task(row: Scored) -> tuple[str, str, str]:
    return row["dataset"], row["task"], row["metric"]


def _is_finite(*scored: Scored) -> bool:
    """An interval is undefined where a task has too few images."""
    return all(math.isfinite(row[name]) for row in scored for name in ("value", "ci_low", "ci_high"))


def _row(row: Scored, minus: Mapping[str, Scored | None], probe: str, source: Source, said: Said) -> Row:
    params, method = source.params, row["method"]
    seeds = sorted(params.seeds) if row["seed"] is None else [row["seed"]]
    description = _description(source.root / "data" / "models" / f"{method}-{seeds[0]}" / model_file.NAME)
    is_rendered = params.dataset[row["dataset"]].fetch.source == "synthetic"
    if not (is_rendered or said.pack):
        raise UserError(f"--pack should say which pack of {row['dataset']} was used, such as '300-W official'")
    if method == "own" and not said.encoder:
        raise UserError("--encoder should say which one the method own is, such as 'DINOv2 ViT-B/14'")
    differences = {
        f"minus_{control}{end}": of[name]
        for control in CONTROLS
        if (of := minus.get(control)) is not None
        for end, name in (("", "value"), ("_low", "ci_low"), ("_high", "ci_high"))
    }
    copied = {name: row[name] for name in ("dataset", "task", "split", "metric", "value", "ci_low", "ci_high", "n")}
    cells = dict(
        pack=RENDERED if is_rendered else said.pack,
        probe=probe,
        method=method,
        encoder=said.encoder if method == "own" else "",
        part=row.get("part", ""),
        steps=description.steps,
        size_px=description.size_px,
        seeds=" ".join(map(str, seeds)),
        command=said.command,
        weights_sha256=params.method[method].get("weights_sha256", ""),
        config_hash=config.digest(params),
        commit=source.commit,
        **copied,
        **differences,
    )
    try:
        return Row.model_validate(cells)
    except ValidationError as error:
        raise UserError(f"{row['dataset']} {row['task']}, {method}: {plugins.explain(error)}") from None
