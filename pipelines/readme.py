"""Put the numbers and figures of the sample report into README.md: `python -m pipelines.readme` after `make repro`."""

import argparse
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.changes.rows import is_headline
from stages.evaluation import scores
from stages.runtime import command, tables
from stages.runtime.errors import UserError

BLOCK = re.compile(r"(<!-- numbers: [^\n]*-->\n).*?(<!-- end of numbers -->)", re.DOTALL)
FIGURES = {  # in data/ -> in the README
    Path("reports/summary.png"): Path("docs/sample-summary.png"),
    Path("figures/images/confidence.png"): Path("docs/sample-confidence.png"),
}
Row = Mapping[str, Any]


def headline_rows(metrics: Path) -> list[Row]:
    """The rows of the whole test split, mean over targets and seeds."""
    return list(filter(is_headline, tables.read(metrics, tables.METRICS).to_pylist()))


def table(rows: list[Row]) -> str:
    """Markdown: a line per task and metric, a column per method."""
    methods = sorted({row["method"] for row in rows})
    lines = [
        f"| data set | task | metric | {' | '.join(f'`{method}`' for method in methods)} | n |",
        f"|---|---|---|{'---|' * len(methods)}---|",
    ]
    for key in sorted({(row["dataset"], row["task"], row["metric"]) for row in rows}):
        of_method = {row["method"]: row for row in rows if (row["dataset"], row["task"], row["metric"]) == key}
        cells = " | ".join(_cell(of_method[method]) for method in methods)
        n = next(iter(of_method.values()))["n"]
        lines.append(f"| {key[0]} | {key[1]} | {scores.axis(key[2])} | {cells} | {n} |")
    hashes = sorted({row["config_hash"] for row in rows})
    note = "95 % bootstrap intervals over test images (identities: identity leakage)"
    return "\n".join([*lines, "", f"{note}; configuration `{', '.join(hashes)}`."])


def _cell(row: Row) -> str:
    printed = scores.printed(row)
    return f"{printed.value} {printed.interval}"


def rewrite(root: Path, data: Path) -> None:
    """Put numbers and figures of `data` into the README of `root`.

    Raises:
        UserError: there is no complete report.
    """
    for figure in FIGURES:
        if not (data / figure).is_file():
            raise UserError(f"{data / figure} is missing: run `make repro` to make the report")
    text = (root / "README.md").read_text(encoding="utf-8")
    block = table(headline_rows(data / "reports" / "metrics.parquet"))
    (root / "README.md").write_text(BLOCK.sub(rf"\g<1>{block}\n\g<2>", text), encoding="utf-8")
    (root / "docs").mkdir(exist_ok=True)
    for figure, copy in FIGURES.items():
        shutil.copyfile(data / figure, root / copy)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m pipelines.readme", description=__doc__).parse_args()
    sys.exit(command.guarded(lambda: rewrite(Path(), Path("data"))))
