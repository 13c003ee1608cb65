"""METHODS.md has a row for every method, and no other."""

import re
from pathlib import Path

import pytest

from pipelines import profile
from stages.report import PUBLISHED
from stages.runtime import config, plugins

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


def test_a_row_tells_how_many_frames_and_which_parts_a_method_has():
    params = config.parsed(profile.text("study", ROOT / "profiles"), "study")
    for row in ROWS:
        module = plugins.load("fabnet.pretext", name := row[0].strip("`"))
        if name in params.methods:
            method = module.build(module.Params(**params.method[name]), size_px=params.pretrain.size_px)
            assert int(row[3].split(",")[0]) == method.frames, name
            assert re.findall(r"`(\w+)`", row[4]) == list(method.parts), name


def test_the_published_values_of_the_report_are_those_of_the_row():
    (row,) = [row for row in ROWS if row[0] == "`fabnet`"]
    assert [value for value in PUBLISHED.values() if f"{value:.2f}" not in row[-1]] == []
