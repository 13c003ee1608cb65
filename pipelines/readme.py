"""Put the sample report's numbers and picture into README.md: `python -m pipelines.readme` after `make repro`."""

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages import tables
from stages.errors import UserError

BLOCK = re.compile(r"(<!-- numbers: [^\n]*-->\n).*?(<!-- end of numbers -->)", re.DOTALL)
PICTURE = Path("docs/sample-summary.png")
DIGITS = {"auc": 3, "accuracy": 3}  # others: 2

Row = Mapping[str, Any]


def headline_rows(metrics: Path) -> list[Row]:
    """The rows of the whole test part, mean over targets and seeds."""
    rows = tables.read(metrics, tables.METRICS).to_pylist()
    return [row for row in rows if row["seed"] is None and row["part"] == "test" and row["target"] == "mean"]


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
        lines.append(f"| {key[0]} | {key[1]} | {key[2].replace('_', ' ')} | {cells} | {n} |")
    hashes = sorted({row["config_hash"] for row in rows})
    return "\n".join([*lines, "", f"95 % bootstrap intervals over test images; configuration `{', '.join(hashes)}`."])


def _cell(row: Row) -> str:
    digits = DIGITS.get(row["metric"], 2)
    value, low, high = (f"{row[name]:.{digits}f}" for name in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def main(root: Path = Path()) -> int:
    """Rewrite the block between the markers and copy the picture; without a report, say so and touch nothing."""
    reports = root / "data" / "reports"
    try:
        rewrite(root, reports)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def rewrite(root: Path, reports: Path) -> None:
    """Put numbers and picture of `reports` into the README below `root`.

    Raises:
        UserError: there is no report, or only a part of one.
    """
    if not (reports / "summary.png").is_file():
        raise UserError(f"{reports / 'summary.png'} is missing: run `make repro` to make the report")
    text = (root / "README.md").read_text(encoding="utf-8")
    block = table(headline_rows(reports / "metrics.parquet"))
    (root / "README.md").write_text(BLOCK.sub(rf"\g<1>{block}\n\g<2>", text), encoding="utf-8")
    (root / PICTURE).parent.mkdir(exist_ok=True)
    shutil.copyfile(reports / "summary.png", root / PICTURE)


if __name__ == "__main__":
    sys.exit(main())
