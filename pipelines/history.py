"""Changes of the report between revisions: commits, tags, branches, experiments, or `workspace` for the files here.

Every revision is compared with the first one. Reports are read from DVC's cache or remote.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from pipelines.changes.rows import CHANGES, ESTIMATE, KEY, compared, rows
from pipelines.changes.view import Report, html, table, view
from pipelines.dvc import revisions
from stages.evaluation import scores
from stages.runtime import command, csv_tables, tables
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text

REPORT = Path("data/reports/metrics.parquet")
NEEDED = (*KEY, *ESTIMATE, "profile", "config_hash", "code_hash")
RENAMED = {"part": "split", "code_rev": "code_hash"}  # columns of schema version 1
FORMER = {"task": {"identity": scores.IDENTITY}, "metric": {"identity_recall": scores.IDENTITY}}  # column -> values
PIPE_WIDTH = 160  # width of the table if the output is not a terminal


def load(root: Path, path: Path, revision: str) -> Report:
    """The report at a revision.

    Raises:
        UserError: it cannot be read, or lacks a column.
    """
    try:
        parquet = pq.read_table(pa.BufferReader(revisions.read(root, path, revision)))
        parquet.validate(full=True)
    except tables.UNREADABLE:
        raise UserError(f"{path} at {revision} is not a Parquet file: name the report with --report") from None
    parquet = parquet.rename_columns([RENAMED.get(name, name) for name in parquet.column_names])
    missing = [name for name in NEEDED if name not in parquet.column_names]
    if missing:
        raise UserError(
            f"{path} at {revision} has no column {missing[0]}: another version of this project wrote it, "
            "compare other revisions"
        )
    return Report(revision, [_with_new_names(row) for row in parquet.to_pylist()])


def _with_new_names(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, **{name: new.get(row[name], row[name]) for name, new in FORMER.items()}}


def main(arguments: Sequence[str], root: Path = Path()) -> None:
    """Command line.

    Raises:
        UserError: a revision cannot be read.
    """
    options = _parser().parse_args(arguments)
    names = [*dict.fromkeys(options.revisions), *([revisions.WORKSPACE] if len(options.revisions) == 1 else [])]
    reports = [load(root, options.report, name) for name in names]
    shown = view(reports, is_detailed=options.detail, is_complete=options.all)
    _print(shown)
    changed = _changed(reports, is_complete=options.all)
    if options.parquet:
        tables.write(options.parquet, CHANGES, changed, key=["new_revision", *KEY])
    if options.csv:
        order = [(name, "ascending") for name in ("new_revision", *KEY)]
        csv_tables.write(options.csv, [pa.Table.from_pylist(changed, CHANGES).sort_by(order)], CHANGES)
    if options.html:
        replace_text(options.html, html(shown))


def _print(shown: dict[str, Any]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for text in shown["sources"]:
        console.print(text, markup=False)
    if shown["lines"]:
        console.print(table(shown))
    console.print(shown["summary"], markup=False)
    if shown["lines"]:
        console.print(shown["note"], markup=False, style="dim")


def _changed(reports: Sequence[Report], *, is_complete: bool) -> list[dict[str, Any]]:
    first, *others = reports
    return [
        row
        for other in others
        for row in rows(compared(first.rows, other.rows), first.revision, other.revision)
        if is_complete or row["verdict"] != "same"
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.history",
        description=__doc__,
        epilog="examples: python -m pipelines.history HEAD~1\n"
        "          python -m pipelines.history main my-experiment --html changes.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("revisions", nargs="+", metavar="REV",
                        help="the first is compared with every other one; alone, with the workspace")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="also show rows that do not differ")
    parser.add_argument(
        "--detail", action="store_true", help="also show every class, action unit, angle, subset and seed"
    )
    parser.add_argument("--parquet", type=Path, metavar="FILE", help="write all rows that differ as a table")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the same as CSV")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the shown table as one self-contained page")
    parser.add_argument("--report", type=Path, default=REPORT, metavar="PATH", help=f"default: {REPORT}")
    return parser


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
