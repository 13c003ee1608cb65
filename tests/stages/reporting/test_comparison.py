from typing import Any

import numpy as np
import pytest

from stages.reporting import comparison, results
from stages.reporting.comparison import Standing


def row(method: str, low: float, high: float, *, control: str = "random", **more: Any) -> dict[str, Any]:
    task = {"dataset": "w300", "task": "landmarks", "metric": "interocular_percent"} | more
    of = {"method": method, "control": control, "n": 100, "groups": 100}
    return {**of, "value": (low + high) / 2, "ci_low": low, "ci_high": high, **task}


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


def standing(leads: list[dict[str, Any]], *, n: int = 100, methods: list[str] | None = None) -> Standing:
    """Of w300 landmarks; the best method is the one of `leads`."""
    names = methods or [*{lead["method"] for lead in leads}, *(lead["control"] for lead in leads)]
    rows = [
        {**row(name, 1, 1), "n": n, "groups": n, "split": split, "target": target}
        for name in names
        for split, target in (("test", "mean"), ("test", "eyes"), ("test/common", "mean"))
    ]
    task = results.Tested("w300", "landmarks", ["interocular_percent"], [], np.full(n, ""), {})
    (found,) = comparison.standings([task], rows, leads, leads)
    return found


def test_the_best_method_ties_with_all_that_the_paired_bootstrap_does_not_tell_from_it():
    found = standing([row("a", -5, 1, control="d"), row("a", -1, 0.2, control="b"), row("a", -2, -1, control="c")])
    assert found.best == "a"
    assert list(found.leads) == ["b", "c", "d"]  # the next best first, by the value
    assert found.tied == ["a", "b", "d"]
    assert found.is_decided


def test_nothing_is_decided_by_few_images_by_a_tie_of_all_or_without_a_difference_to_the_untrained_encoder():
    real, open_ = row("a", -2, -1, control="b"), row("a", -2, 1, control="b")
    assert standing([real], n=30).is_decided
    assert not standing([real], n=29).is_decided
    assert standing([open_]).all_tie
    assert not standing([open_]).is_decided
    against = [row("a", -2, 0.1), row("a", -2, -1, control="b")]
    assert standing(against).all_like_control
    assert not standing(against).is_decided


def test_one_method_alone_is_best_and_ties_with_nobody():
    found = standing([], methods=["a"])
    assert (found.best, found.tied, found.all_tie, found.is_decided) == ("a", ["a"], False, True)


def test_a_task_without_a_value_decides_nothing():
    task = results.Tested("w300", "landmarks", ["interocular_percent"], [], np.full(3, ""), {})
    (found,) = comparison.standings([task], [], [], [])
    assert (found.best, found.tied, found.n, found.is_decided) == (None, [], 0, False)


def test_a_table_has_a_row_per_task_and_a_column_per_method():
    rows = [row("fabnet", -2, -1), row("fabnet", 0.1, 0.2, **AUC, n=20, groups=20), row("rotation", -1, 1)]
    table = comparison.table(rows, "random")
    assert table is not None
    assert table["columns"] == ["fabnet", "rotation"]
    assert [(line["title"], line["n"], line["is_few"]) for line in table["rows"]] == [
        ("w300 · landmarks", 100, False),
        ("affectnet · expression", 20, True),
    ]
    assert table["rows"][0]["cells"][0] == {"value": "-1.50", "interval": "[-2.00, -1.00]", "mark": "better"}
    assert table["rows"][1]["cells"][1] is None
    assert comparison.table(rows, "fabnet") is None
