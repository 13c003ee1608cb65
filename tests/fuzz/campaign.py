"""Give a million inputs to all readers of the project, and say what each of them found.

`make fuzz` runs it, with INPUTS and SECONDS as options. It goes on where it stopped: what was done stands in
`build/fuzz/done.json`, until all is done and it becomes `last.json`. Findings lie in `build/fuzz/findings/TARGET/`, and
the next run tries them first. A finding that was mended goes into `tests/fuzz/corpus/TARGET/`, which the tests replay.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import drawn
from target import Target
from targets import GROUPS, TARGETS
from workers import Finding, Run, run

KINDS: dict[str, Callable[[Target, int, int], Run]] = {
    "mutated": drawn.mutations, "structured": drawn.structures, "guided": drawn.guided,
}  # fmt: skip
BATCH = 4000  # inputs of one process at most
CORPUS = Path(__file__).with_name("corpus")
DONE = "done.json"
PARTS = 10
MAX_SLOW = 700  # of one target
MIN_GUIDED = 100  # it takes seconds to begin
MAX_ALIKE = 5  # findings of one kind, after which a target is left alone


@dataclass
class Done:
    """What was given to one target."""

    inputs: dict[str, int] = field(default_factory=dict)  # kind -> count
    findings: dict[str, int] = field(default_factory=dict)  # what -> count

    @property
    def count(self) -> int:
        return sum(self.inputs.values())


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which it stops")
    parser.add_argument("--targets", default="*", help="names or patterns, separated by commas")
    parser.add_argument("--quick", action="store_true", help="replay the corpus and try a few new inputs only")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="of what was done and found")
    options = parser.parse_args(arguments)
    patterns = options.targets.split(",")
    chosen = [target for name, target in TARGETS.items() if any(fnmatch(name, pattern) for pattern in patterns)]
    if options.quick:
        return quick(chosen)
    done = _read(options.folder)
    until = time.monotonic() + options.seconds
    total = sum(target.share for target in TARGETS.values())
    goals = {target.name: round(options.inputs * target.share / total) for target in chosen}
    for target in chosen:
        done.setdefault(target.name, Done()).findings = _left(target, options.folder / "findings")
    with drawn.ready():
        for part in range(1, PARTS + 1):  # all targets advance together
            for target in chosen:
                goal = _goals(target, goals[target.name])
                goal["mutated"] = goal["mutated"] * part // PARTS
                _advance(target, done[target.name], goal, until, options.folder)
                _write(options.folder, done)
    if all(done[name].count >= goal for name, goal in goals.items()):
        (options.folder / DONE).replace(options.folder / "last.json")
    sys.stdout.write(f"{table(done)}\n")
    return int(any(of.findings for of in done.values()))


def quick(chosen: Sequence[Target]) -> int:
    """The exit status: 1 if a reader does on its corpus, or on a few new inputs, what it may not do."""
    corpora = [(target, [path.read_bytes() for path in _corpus(target)]) for target in chosen]
    with drawn.ready():
        if drawn.few(corpora).finding is None:
            return 0
        found = [finding for of_one in corpora if (finding := drawn.few([of_one]).finding)]  # which they are
    for finding in found:
        sys.stdout.write(f"{finding.target}: {finding.what}\n{finding.data[:200]!r}\n{finding.told}\n")
    return 1


def _corpus(target: Target) -> list[Path]:
    return sorted((CORPUS / folder_of(target.name)).glob("*"))


def _left(target: Target, findings: Path) -> dict[str, int]:
    """What the kept inputs still do."""
    paths = [path for path in (findings / folder_of(target.name)).glob("*") if path.suffix != ".txt"]
    runs = [run(target, lambda path=path: [path.read_bytes()]) for path in sorted(paths)]
    return dict(Counter(ended.finding.what for ended in runs if ended.finding))


def _advance(target: Target, done: Done, goal: dict[str, int], until: float, folder: Path) -> None:
    for kind, wanted in goal.items():
        while done.inputs.get(kind, 0) < wanted and time.monotonic() < until:
            if any(count >= MAX_ALIKE for count in done.findings.values()):
                return
            first = done.inputs.get(kind, 0)
            ended = KINDS[kind](target, first, min(BATCH, wanted - first))
            done.inputs[kind] = first + max(1, ended.begun)
            if ended.finding is not None:
                what = confirmed(target, ended.finding)
                done.findings[what] = done.findings.get(what, 0) + 1
                keep(folder / "findings", ended.finding, what)


def _goals(target: Target, goal: int) -> dict[str, int]:
    """Inputs of each kind; those that are slow to make are a fifth at most, and no more than MAX_SLOW."""
    slow = min(goal // 5, MAX_SLOW)
    structured = slow if target.odd is not None else 0
    guided = slow if target.is_guided and slow >= MIN_GUIDED and importlib.util.find_spec("atheris") else 0
    return {"mutated": goal - structured - guided, "structured": structured, "guided": guided}


def confirmed(target: Target, finding: Finding) -> str:
    """What the input does by itself."""
    alone = run(target, lambda: [finding.data]).finding
    return alone.what if alone else f"not by itself: {finding.what}"


def keep(folder: Path, finding: Finding, what: str) -> Path:
    """Write the input, and beside it what it does; of inputs that do the same, the smallest stays."""
    name = re.sub(r"\W+", "-", what.lower())[:60].strip("-")
    path = folder / folder_of(finding.target) / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:6]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size > len(finding.data):
        path.write_bytes(finding.data)
        path.with_name(f"{path.name}.txt").write_text(f"{what}\n{finding.told}", encoding="utf-8")
    return path


def folder_of(name: str) -> str:
    """Of the findings of a target."""
    return name.replace(" ", "-")


def table(done: dict[str, Done]) -> str:
    """Markdown: inputs and findings by group and target."""
    rows = ["| read | inputs | findings |", "|---|---|---|"]
    for group, targets in GROUPS.items():
        of_group = {target.name: done[target.name] for target in targets if target.name in done}
        rows += [_row(f"**{group}**", of_group.values()), *(_row(name, [of]) for name, of in of_group.items())]
    kinds = {kind: sum(of.inputs.get(kind, 0) for of in done.values()) for kind in KINDS}
    said = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    return "\n".join([*rows, _row("**all**", done.values()), "", said, *_told(done)])


def _row(name: str, of: Collection[Done]) -> str:
    return f"| {name} | {sum(one.count for one in of):,} | {sum(sum(one.findings.values()) for one in of)} |"


def _told(done: dict[str, Done]) -> Iterator[str]:
    for name, of in done.items():
        for what, count in of.findings.items():
            yield f"{name}: {count} x {what}"


def _read(folder: Path) -> dict[str, Done]:
    path = folder / DONE
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: Done(**values) for name, values in found.items()}


def _write(folder: Path, done: dict[str, Done]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: asdict(of) for name, of in done.items()}, indent=1)
    (folder / DONE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
