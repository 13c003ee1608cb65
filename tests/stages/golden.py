"""Scores that should stay, and how far each may lie from them."""

from collections.abc import Mapping
from dataclasses import dataclass

Headlines = Mapping[str, Mapping[str, float]]  # data set -> task -> value, as the report writes them


@dataclass(frozen=True)
class Near:
    value: float
    within: float

    def holds(self, found: float) -> bool:
        return abs(found - self.value) <= self.within


Golden = Mapping[tuple[str, str], Near]  # by data set and task


def misses(golden: Golden, found: Headlines) -> list[str]:
    """What is missing, new, or further away than it may be."""
    values = {(dataset, task): value for dataset, tasks in found.items() for task, value in tasks.items()}
    return [
        *(f"{key}: expected, not found" for key in golden if key not in values),
        *(f"{key}: found, not expected" for key in values if key not in golden),
        *(
            f"{key}: expected {near.value} within {near.within:.4f}, found {values[key]}"
            for key, near in golden.items()
            if key in values and not near.holds(values[key])
        ),
    ]
