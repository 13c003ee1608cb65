"""What the kill tests count; tests/faults/conftest.py prints the sum at the end of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("differences", "partial files", "left-overs", "orphans", "other findings")


@dataclass
class Tally:
    """Kills and power cuts, what was killed, and what was found wrong, in words by its kind."""

    kills: int = 0
    power_cuts: int = 0
    stages: set[str] = field(default_factory=set[str])
    doors: set[str] = field(default_factory=set[str])
    found: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def find(self, kind: str, what: str) -> None:
        self.found[kind].append(what)

    def findings(self) -> list[str]:
        return [f"{kind}: {what}" for kind, of_kind in self.found.items() for what in of_kind]

    def told(self) -> dict[str, Any]:
        """As a property of a test, which goes from process to process."""
        counts = {kind: len(found) for kind, found in self.found.items()}
        done = {"kills": self.kills, "power cuts": self.power_cuts}
        return {**done, "stages": sorted(self.stages), "doors": sorted(self.doors), **counts}


def summed(told: Iterable[Mapping[str, Any]]) -> str:
    """One line on what several tests have counted; empty if none has."""
    every = list(told)
    if not every:
        return ""
    stages = {stage for of_one in every for stage in of_one["stages"]}
    doors = {door for of_one in every for door in of_one["doors"]}
    counts = ", ".join(f"{sum(of_one[kind] for of_one in every)} {kind}" for kind in KINDS)
    where = f"{len(stages)} stages" + (f" and at {len(doors)} doors ({', '.join(sorted(doors))})" if doors else "")
    done = " and ".join(f"{sum(of_one[kind] for of_one in every)} {kind}" for kind in ("kills", "power cuts"))
    return f"{done} in {where}: {counts}"
