"""Differences between the rows of two metric tables; no files."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from stages.evaluation import scores
from stages.evaluation.scores import METRICS

Row = Mapping[str, Any]  # of tables.METRICS
Verdict = Literal["same", "open", "better", "worse", "apart", "added", "removed"]

KEY = ("dataset", "task", "metric", "method", "seed", "split", "target")
ESTIMATE = ("value", "ci_low", "ci_high", "n")
SAME = 1e-6  # metrics/<method>.json rounds to this; smaller differences are numerical noise between machines

# One row of METRICS at two revisions. Null: not there at this one.
CHANGES = pa.schema([
    *((name, pa.int32() if name == "seed" else pa.string()) for name in KEY),
    *(
        (f"{side}_{name}", pa.int64() if name == "n" else pa.float64() if name in ESTIMATE else pa.string())
        for side in ("old", "new")
        for name in ("revision", *ESTIMATE, "config_hash", "code_hash")
    ),
    ("difference", pa.float64()),  # new minus old
    ("verdict", pa.string()),  # as Verdict
])  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One row of two tables; None in a table without it."""

    key: tuple[Any, ...]  # as KEY
    old: Row | None
    new: Row | None

    @property
    def difference(self) -> float | None:
        return self.new["value"] - self.old["value"] if self.old and self.new else None

    @property
    def verdict(self) -> Verdict:
        """`same`; `open` if the intervals overlap; `apart` if they do not and the metric is unknown."""
        if not self.old or not self.new:
            return "added" if self.new else "removed"
        if all(_is_close(self.old[name], self.new[name]) for name in ESTIMATE):
            return "same"
        is_higher = self.new["ci_low"] > self.old["ci_high"]
        if not is_higher and not self.new["ci_high"] < self.old["ci_low"]:
            return "open"
        traits = METRICS.get(self.key[KEY.index("metric")])
        return "apart" if traits is None else "better" if is_higher == traits.higher_is_better else "worse"


def compared(old: Iterable[Row], new: Iterable[Row]) -> list[Change]:
    """A change for every key of either table, in their `order`."""
    before, after = (_by_key(rows) for rows in (old, new))
    keys = sorted(before.keys() | after.keys(), key=order)
    return [Change(key, before.get(key), after.get(key)) for key in keys]


def order(key: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    """Sort key: pooled rows (no seed) come before those of a seed."""
    return [(split is not None, split) for split in key]


def is_headline(row: Row) -> bool:
    """Whether it is the mean over targets and seeds on the whole test split."""
    return row["seed"] is None and row["split"] == "test" and row["target"] == scores.MEAN


def rows(changes: Sequence[Change], old_revision: str, new_revision: str) -> Iterator[dict[str, Any]]:
    """Rows of CHANGES."""
    names = (*ESTIMATE, "config_hash", "code_hash")
    for change in changes:
        row: dict[str, Any] = dict(zip(KEY, change.key, strict=True))
        sides = (("old", change.old, old_revision), ("new", change.new, new_revision))
        for side, of_side, revision in sides:
            row |= {f"{side}_revision": revision, **{f"{side}_{name}": of_side and of_side[name] for name in names}}
        yield row | {"difference": change.difference, "verdict": change.verdict}


def _by_key(rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    return {tuple(row[name] for name in KEY): row for row in rows}


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=0, abs_tol=SAME) or (math.isnan(one) and math.isnan(other))
