from typing import Any

import pytest

from stages.reporting import comparison


def row(method: str, low: float, high: float, *, control: str = "random", **more: Any) -> dict[str, Any]:
    task = {"dataset": "w300", "task": "landmarks", "metric": "interocular_percent"} | more
    return {"method": method, "control": control, "value": (low + high) / 2, "ci_low": low, "ci_high": high, **task}


AUC = {"dataset": "affectnet", "task": "expression", "metric": "auc"}


@pytest.mark.parametrize(
    ("low", "high", "more", "expected"),
    [
        (-2.0, -1.0, {}, "better"),
        (1.0, 2.0, {}, "worse"),
        (-1.0, 2.0, {}, "open"),
        (0.0, 2.0, {}, "open"),
        (float("nan"), float("nan"), {}, "open"),
        (0.1, 0.2, AUC, "better"),
        (-0.2, -0.1, AUC, "worse"),
    ],
)
def test_an_interval_that_excludes_zero_is_better_or_worse(
    low: float, high: float, more: dict[str, Any], expected: str
):
    assert comparison.verdict(row("fabnet", low, high, **more)) == expected


def test_methods_that_do_not_beat_the_untrained_encoder_are_named_in_sentences():
    pose = {"dataset": "aflw", "task": "pose", "metric": "angle_error_deg"}
    rows = [
        row("fabnet", -1, 1),
        row("fabnet", -1, 1, **pose),
        row("fabnet", -0.2, -0.1, **AUC),
        row("rotation", -2, -1),
        row("rotation", -1, 3, **pose),
        row("rotation", -2, -1, control="fabnet"),
    ]
    assert comparison.sentences(rows) == [
        "No evidence that fabnet beats the untrained encoder on w300 landmarks.",
        "No evidence that fabnet and rotation beat the untrained encoder on aflw pose.",
        "On affectnet expression the untrained encoder is better than fabnet.",
    ]


def test_there_is_a_user_error_if_all_methods_win_and_none_without_the_control():
    assert comparison.sentences([row("fabnet", -2, -1)]) == [
        "Every other method beats the untrained encoder on every task."
    ]
    assert comparison.sentences([row("fabnet", -2, -1, control="pca")]) == []


def test_a_table_has_a_row_per_method_and_a_column_per_task():
    rows = [row("fabnet", -2, -1), row("fabnet", 0.1, 0.2, **AUC), row("rotation", -1, 1)]
    table = comparison.table(rows, "random")
    assert table is not None
    assert [column["title"] for column in table["columns"]] == ["w300 · landmarks", "affectnet · expression"]
    assert [line["method"] for line in table["rows"]] == ["fabnet", "rotation"]
    assert table["rows"][0]["cells"][0] == {"value": "-1.50", "interval": "[-2.00, -1.00]", "verdict": "better"}
    assert table["rows"][1]["cells"][1] is None
    assert comparison.table(rows, "fabnet") is None
