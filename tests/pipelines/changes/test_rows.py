import pyarrow as pa
import pytest

from pipelines.changes import rows
from pipelines.changes.rows import CHANGES, KEY, compared


def row(
    value: float, half: float = 0.1, *, metric: str = "auc", method: str = "fabnet", seed: int | None = None, n: int = 9
):
    of = {"dataset": "w300", "task": "t", "metric": metric, "method": method, "seed": seed, "split": "test"}
    estimate = {"value": value, "ci_low": value - half, "ci_high": value + half, "n": n}
    return of | {"target": "mean", "config_hash": "c", "code_hash": "r"} | estimate


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (row(0.5), row(0.5), "same"),
        (row(0.5), row(0.5 + 1e-9), "same"),
        (row(0.5), row(0.5, n=8), "open"),
        (row(0.5), row(0.65), "open"),
        (row(0.5), row(0.75), "better"),
        (row(0.5), row(0.25), "worse"),
        (row(5.0, metric="angle_error_deg"), row(4.0, metric="angle_error_deg"), "better"),
        (row(5.0, metric="gone_metric"), row(4.0, metric="gone_metric"), "apart"),
        (row(0.5, float("nan")), row(0.5, float("nan")), "same"),
        (row(0.5, float("nan")), row(0.9, float("nan")), "open"),
    ],
)
def test_the_verdict_of_a_change_follows_from_its_intervals_and_the_direction_of_its_metric(old, new, verdict):
    assert [change.verdict for change in compared([old], [new])] == [verdict]


def test_rows_of_one_side_only_are_added_or_removed():
    found = compared([row(0.5), row(0.5, method="pca")], [row(0.6), row(0.6, method="vicreg")])
    assert [(change.key[KEY.index("method")], change.verdict) for change in found] == [
        ("fabnet", "open"), ("pca", "removed"), ("vicreg", "added"),
    ]  # fmt: skip


def test_the_order_of_rows_does_not_matter():
    some = [row(0.5, seed=seed, method=method) for seed in (None, 0, 1) for method in ("a", "b")]
    assert compared(some, some[::-1]) == compared(some[::-1], some)


def test_a_change_is_one_row_with_both_sides():
    changes = list(rows.rows(compared([row(0.5)], [row(0.75), row(0.6, method="vicreg")]), "v1", "v2"))
    found = pa.Table.from_pylist(changes, schema=CHANGES).to_pylist()
    assert found[0]["difference"] == pytest.approx(0.25)
    assert (found[0]["old_revision"], found[0]["new_revision"], found[0]["verdict"]) == ("v1", "v2", "better")
    assert (found[1]["old_value"], found[1]["old_n"], found[1]["new_n"]) == (None, None, 9)
