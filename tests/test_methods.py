"""METHODS.md has a row for every method, and no other."""

import re
from pathlib import Path

import pytest

from stages.report import PUBLISHED
from stages.runtime import plugins

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (ROOT / "METHODS.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]


def test_every_module_has_its_row_and_no_row_lacks_a_module():
    named = [re.fullmatch(r"`(\w+)`", row[0]) for row in ROWS]
    assert sorted(name[1] for name in named if name) == plugins.names("fabnet.pretext")
    assert all(named)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_fills_every_column(row: list[str]):
    assert len(row) == 7
    assert all(row)


def test_the_published_values_of_the_report_are_those_of_the_row():
    (row,) = [row for row in ROWS if row[0] == "`fabnet`"]
    assert [value for value in PUBLISHED.values() if f"{value:.2f}" not in row[-1]] == []
