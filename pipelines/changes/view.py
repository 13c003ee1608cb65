"""Changes between reports as rows of a table, for the terminal and for an HTML page."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from pipelines.changes.rows import KEY, Change, Row, compared, is_headline, order
from stages.evaluation.scores import MEAN, METRICS, Printed, axis, number, printed
from stages.reporting import page

MARKS = {"better": "better", "worse": "worse", "apart": "apart", "added": "new", "removed": "gone"}
COLOURS = {"better": "green", "worse": "red", "apart": "yellow"}
NOTE = (
    "Better, worse or apart: the bootstrap intervals of both revisions do not overlap. If they do, this table does not "
    "decide. To compare methods of one report, use the paired differences in its differences.parquet."
)


@dataclass(frozen=True)
class Report:
    revision: str
    rows: Sequence[Row]

    @property
    def source(self) -> str:
        """`main: profile sample, configuration b24504cdf119, code a84dd1a0c3f2`."""
        facts = {"profile": "profile", "config_hash": "configuration", "code_hash": "code"}
        values = [f"{word} {' and '.join(sorted({row[name] for row in self.rows}))}" for name, word in facts.items()]
        return f"{self.revision}: {', '.join(values)}"


def view(reports: Sequence[Report], *, is_detailed: bool, is_complete: bool) -> dict[str, Any]:
    """Content of the table and the page: a line for every row that differs, or for all rows."""
    first, *others = [[row for row in report.rows if is_detailed or is_headline(row)] for report in reports]
    by_key: dict[tuple[Any, ...], list[Change]] = {}
    for other in others:
        for change in compared(first, other):
            by_key.setdefault(change.key, []).append(change)
    shown = {
        key: changes
        for key, changes in sorted(by_key.items(), key=lambda item: order(item[0]))
        if is_complete or any(change.verdict != "same" for change in changes)
    }
    return {
        "sources": [report.source for report in reports],
        "revisions": [report.revision for report in reports],
        "lines": [_line(key, changes) for key, changes in shown.items()],
        "summary": _summary(list(shown.values()), len(by_key), reports),
        "note": NOTE,
    }


def html(shown: dict[str, Any]) -> str:
    """The result of `view` as one self-contained page."""
    return page.template("history.html", Path(__file__).parent).render(shown)


def _line(key: tuple[Any, ...], changes: Sequence[Change]) -> dict[str, Any]:
    of = dict(zip(KEY, key, strict=True))
    more = [of["split"]] * (of["split"] != "test") + [of["target"]] * (of["target"] != MEAN)
    more += [f"seed {of['seed']}"] * (of["seed"] is not None)
    known = of["metric"] in METRICS
    return {
        "task": " · ".join([of["dataset"], of["task"], *more]),
        "metric": axis(of["metric"]) if known else of["metric"],
        "method": of["method"],
        "old": _printed(next((change.old for change in changes if change.old), None)),
        "cells": [_cell(change) for change in changes],
    }


def _cell(change: Change) -> dict[str, Any]:
    metric, difference = change.key[KEY.index("metric")], change.difference
    shown = "" if difference is None or change.verdict == "same" else number(metric, difference, signed=True)
    mark = MARKS.get(change.verdict, "")
    if change.old and change.new and change.old["n"] != change.new["n"]:
        mark = f"{mark} n {change.old['n']} → {change.new['n']}".strip()
    return {"estimate": _printed(change.new), "difference": f"{shown} {mark}".strip() or "=", "verdict": change.verdict}


def _printed(row: Row | None) -> Printed | None:
    return None if row is None else printed(row)


def _summary(shown: Iterable[Sequence[Change]], lines: int, reports: Sequence[Report]) -> str:
    verdicts = [change.verdict for changes in shown for change in changes]
    counts = Counter(verdict for verdict in verdicts if verdict != "same")
    pair = " and ".join((reports[0].revision, ", ".join(report.revision for report in reports[1:])))
    if not counts:
        return f"Nothing differs between {pair} in {lines} rows."
    words = {"open": "overlap", "added": "are new", "removed": "are gone"}
    kinds = ", ".join(f"{count} {words.get(verdict, verdict)}" for verdict, count in sorted(counts.items()))
    return f"{sum(counts.values())} differences between {pair} in {lines} rows: {kinds}."


def table(shown: Mapping[str, Any]) -> Table:
    """The view for a terminal."""
    first, *others = shown["revisions"]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "metric", "method", first, *(name for other in others for name in (other, f"minus {first}"))):
        drawn.add_column(name, overflow="fold")
    for line in shown["lines"]:
        cells = [_plain(line["old"])]
        for cell in line["cells"]:
            colour = COLOURS.get(cell["verdict"], "")
            cells += [_plain(cell["estimate"]), f"[{colour}]{cell['difference']}[/]" if colour else cell["difference"]]
        drawn.add_row(line["task"], line["metric"], line["method"], *cells)
    return drawn


def _plain(estimate: Printed | None) -> str:
    return f"{estimate.value} {estimate.interval}" if estimate else "–"
