import re
from dataclasses import replace
from typing import Any

import pytest
import report_samples

from stages.reporting import page, parts
from stages.reporting.page import Content, Figures

FIGURES = Figures(summary=b"", loss_curves=b"", learning_curves=b"", health=b"", roc_pr={}, crop={})


def part_rows(content: Content, method: str, seed: int) -> list[dict[str, Any]]:
    """The rows of the whole embedding as those of two parts, the second of which is worse by a tenth."""
    return [
        {**row, "method": method, "seed": seed, "part": part, "value": row["value"] + shift + seed}
        for row in content.rows
        if row["method"] == method
        for part, shift in (("face", 0.0), ("rest", 0.1))
    ]


@pytest.fixture(scope="module")
def content() -> Content:
    return report_samples.crowded("sample")


def test_a_method_with_parts_has_a_row_for_each_task_and_a_column_for_each_part(content: Content):
    (table,) = parts.by_method_and_part(part_rows(content, "fabnet", 0), [], content.rows, content.tasks)
    assert (table["method"], table["columns"]) == ("fabnet", ["whole", "face", "rest"])
    assert [row["title"] for row in table["rows"]] == [page.title(task) for task in content.tasks]
    whole, face, rest = table["rows"][0]["cells"]
    assert whole == face
    assert float(rest["value"]) == pytest.approx(float(face["value"]) + 0.1, abs=0.002)


def test_several_seeds_show_their_mean_and_range(content: Content):
    both = [row for seed in (0, 1) for row in part_rows(content, "fabnet", seed)]
    (table,) = parts.by_method_and_part(both, [], content.rows, content.tasks)
    whole, face, _ = table["rows"][0]["cells"]
    assert float(face["value"]) == pytest.approx(float(whole["value"]) + 0.5, abs=0.002)
    assert face["interval"].split(" to ")[0] == whole["value"]


def test_a_part_that_has_no_score_in_a_task_has_an_empty_cell(content: Content):
    first = content.tasks[0]
    lacking = [
        row for row in part_rows(content, "fabnet", 0)
        if row["part"] == "face" or (row["dataset"], row["task"]) != (first.dataset, first.task)
    ]  # fmt: skip
    (table,) = parts.by_method_and_part(lacking, [], content.rows, content.tasks)
    assert table["rows"][0]["cells"][2] is None


def difference(content: Content, seed: int, value: float) -> dict[str, Any]:
    task = content.tasks[0]
    row = {"dataset": task.dataset, "task": task.task, "metric": task.metrics[0], "method": "fabnet", "seed": seed}
    of = {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
    return {**row, "part": "rest", "other": "face", **of}


def test_a_part_minus_another_is_marked_where_its_interval_excludes_zero(content: Content):
    own = part_rows(content, "fabnet", 0)
    for value, mark in ((0.05, "open"), (0.15, "better"), (-0.15, "worse")):
        (table,) = parts.by_method_and_part(own, [difference(content, 0, value)], content.rows, content.tasks)
        assert table["columns"] == ["whole", "face", "rest", "rest minus face"]
        cell = table["rows"][0]["cells"][3]
        assert (cell["value"], cell["mark"]) == (f"{value:+.3f}", mark)
        assert table["rows"][1]["cells"][3] is None
    both = [difference(content, seed, 0.15 + seed) for seed in (0, 1)]
    (table,) = parts.by_method_and_part(own, both, content.rows, content.tasks)
    assert table["rows"][0]["cells"][3] == {"value": "+0.650", "interval": "+0.150 to +1.150", "mark": ""}


def test_the_page_shows_parts_where_a_method_has_some(content: Content):
    assert "Parts of the embeddings" not in page.render(content, FIGURES)
    minus = [difference(content, 0, 0.15)]
    shown = page.render(replace(content, parts=part_rows(content, "fabnet", 0), part_differences=minus), FIGURES)
    assert re.search(r'class="n better" data-label="rest minus face">\+0\.150', shown)
    assert '<h2 id="parts">' in shown
    assert "<code>fabnet</code>" in shown
