"""The reference table as Markdown: for each pack and probe, a line per encoder and a column per task."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from pipelines.results.rows import CONTROLS, Placed, Row
from stages.evaluation import scores
from stages.reporting import comparison

MARKS = {comparison.BETTER: " ▲", comparison.WORSE: " ▼", comparison.OPEN: ""}


def markdown(placed: Sequence[Placed]) -> str:
    """All tables; a sentence if there are no rows."""
    if not placed:
        return "No rows yet."
    groups = groupby(sorted(placed, key=_group), key=_group)
    return "\n\n".join("\n".join(_tables(pack, probe, list(rows))) for (pack, probe), rows in groups)


def _group(placed: Placed) -> tuple[str, str]:
    return placed.row.pack, placed.row.probe


def _tables(pack: str, probe: str, placed: Sequence[Placed]) -> Iterator[str]:
    """The values, then the differences to each control."""
    rows = [each.row for each in placed]
    tasks = sorted({_task(row) for row in rows})
    encoders = list(dict.fromkeys(_encoder(each) for each in placed))
    cells = {(_encoder(each), _task(each.row)): each.row for each in placed}
    yield f"### {pack}, probe `{probe}`"
    for title, cell in (("value", _value), *((f"minus `{control}`", _minus(control)) for control in CONTROLS)):
        of_encoder = {encoder: [cell(cells.get((encoder, task))) for task in tasks] for encoder in encoders}
        shown = {encoder: line for encoder, line in of_encoder.items() if any(line)}
        if shown:
            yield ""
            yield f"| {title} | steps | px | {' | '.join(map(_titled, tasks))} | from |"
            yield f"|---|---|---|{'---|' * len(tasks)}---|"
            for (name, steps, size_px, file), line in shown.items():
                yield f"| {name} | {steps} | {size_px} | {' | '.join(line)} | {file} |"


def _encoder(placed: Placed) -> tuple[str, int, int, str]:
    row, count = placed.row, len(placed.row.seeds.split())
    name = row.encoder.replace("|", "\\|") or f"`{row.method}`"
    part = f", part `{row.part}`" if row.part else ""
    seeds = f", {count} seeds" if count > 1 else ""
    return f"{name}{part}{seeds}", row.steps, row.size_px, f"{placed.file.stem}, `{row.config_hash}`"


def _task(row: Row) -> tuple[str, str, str, str]:
    return row.dataset, row.task, row.split, row.metric


def _titled(task: tuple[str, str, str, str]) -> str:
    dataset, name, split, metric = task
    return f"{dataset} {name}{'' if split == 'test' else f' ({split})'}, {scores.axis(metric)}"


def _value(row: Row | None) -> str:
    if row is None:
        return ""
    printed = scores.printed(row.model_dump())
    return f"{printed.value} {printed.interval}"


def _minus(control: str):
    def cell(row: Row | None) -> str:
        if row is None or row.minus(control)[0] is None:
            return ""
        names = ("value", "ci_low", "ci_high")
        difference = {"metric": row.metric, **dict(zip(names, row.minus(control), strict=True))}
        printed = scores.printed(difference, signed=True)
        return f"{printed.value} {printed.interval}{MARKS[comparison.verdict(difference)]}"

    return cell
