"""What the report says first: for every data set, which method is best on which task, and whether its lead is real."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stages.evaluation.scores import IDENTITY, METRICS, printed
from stages.reporting.comparison import Row, Standing
from stages.reporting.contents import Converged
from stages.reporting.results import CONTROL, CONTROLS

# Methods without a trained network. They may win.
REFERENCES = {
    CONTROL: "the untrained encoder",
    "constant": "which ignores the image",
    "pca": "principal components of the pixels",
}
UNITS = {"interocular_percent": " % of inter-ocular distance", "angle_error_deg": " degrees"}
NAMED = 4  # methods of a tie; further ones are counted


@dataclass(frozen=True)
class Paragraph:
    """The answers of one data set."""

    dataset: str
    sentences: Sequence[Markup]


def paragraphs(headlines: Iterable[Standing]) -> list[Paragraph]:
    """One for each data set: a sentence for every task that decides something, and one for those that do not."""
    of_dataset: dict[str, list[Standing]] = {}
    for standing in headlines:
        of_dataset.setdefault(standing.dataset, []).append(standing)
    return [Paragraph(dataset, list(_sentences(members))) for dataset, members in of_dataset.items()]


def _sentences(standings: Sequence[Standing]) -> Iterator[Markup]:
    yield from (_decided(standing) for standing in standings if standing.is_decided)
    undecided = [standing for standing in standings if not standing.is_decided]
    if undecided:
        tasks = [Markup("{} ({})").format(_task(standing), _reason(standing)) for standing in undecided]
        yield Markup("Nothing is decided on {}.").format(_listed(tasks))


def _decided(standing: Standing) -> Markup:
    tied = standing.tied
    if len(standing.rows) == 1:
        return Markup("Only {} was run; on {} it has {}.").format(_bold(tied[0]), _task(standing), _measure(standing))
    if len(tied) > 1:
        return _tie(standing)
    best, leads = tied[0], _leads(standing)
    if best in REFERENCES:
        text = "On {task} no trained network beats {best}, {what}: {measure}; its lead is real: {leads}."
    else:
        text = "On {task} {best} is best, {measure}; its lead is real: {leads}."
    return Markup(text).format(
        task=_task(standing), best=_bold(best), what=REFERENCES.get(best), measure=_measure(standing), leads=leads
    )


def _tie(standing: Standing) -> Markup:
    best, second, *_ = standing.tied
    text = "On {task} {names} tie for the best: {measure} for {best}, and its lead over {second}, {lead}, is not real"
    said = Markup(text).format(
        task=_task(standing),
        names=_listed([_bold(name) for name in standing.tied], most=NAMED),
        measure=_measure(standing),
        best=_code(best),
        second=_code(second),
        lead=_lead(standing.leads[second]),
    )
    others = [name for name in CONTROLS if name in standing.leads and name not in standing.tied]
    if others:
        verb = "is" if len(others) == 1 else "are"
        said += Markup(", but {} {}").format(_leads(standing, others), verb)
    return said + _moral(standing) + "."


def _moral(standing: Standing) -> Markup:
    """What a tie with a reference says."""
    references = [name for name in standing.tied if name in REFERENCES]
    if not references:
        return Markup("")
    names = _listed([_code(name) for name in references])
    if len(references) == len(standing.tied):
        return Markup("; no trained network beats {}").format(names)
    return Markup("; so no trained network is shown to beat {}").format(names)


def _reason(standing: Standing) -> Markup:
    if not standing.rows:
        return Markup("undefined for every method")
    if standing.is_small:
        return Markup("only {}{}").format(_count(standing), _grouped(standing))
    if standing.all_tie:
        return Markup("all methods tie, {}").format(_count(standing))
    return Markup("no method really differs from {}, {}").format(_code(CONTROL), _count(standing))


def _grouped(standing: Standing) -> str:
    """` in 12 groups` where images belong together, else nothing."""
    count = standing.groups
    return "" if count == standing.n else f" in {count:,} group{'' if count == 1 else 's'}"


def _measure(standing: Standing) -> Markup:
    """`error 7.84 % of inter-ocular distance [7.36, 8.38] on 400 images`."""
    row = standing.rows[standing.tied[0]]
    name, text = METRICS[standing.metric].label.split(", ")[0], printed(row)
    value = f"{name} {text.value}{UNITS.get(standing.metric, '')}"
    return Markup("{} {} on {}").format(value, _soft(text.interval), _count(standing))


def _leads(standing: Standing, over: Sequence[str] = ()) -> Markup:
    """`1.25 [0.87, 1.61] over fabnet and 2.93 [2.49, 3.40] over random`; by default over the next and the controls."""
    others = over or list(dict.fromkeys([next(iter(standing.leads)), *CONTROLS[::-1]]))
    shown = sorted((name for name in others if name in standing.leads), key=list(standing.leads).index)
    return _listed([Markup("{} over {}").format(_lead(standing.leads[name]), _code(name)) for name in shown])


def _lead(row: Row) -> Markup:
    """How far the best is ahead, as a positive number whichever direction is better."""
    sign = 1 if METRICS[row["metric"]].higher_is_better else -1
    low, high = sorted((sign * row["ci_low"], sign * row["ci_high"]))
    text = printed({**row, "value": sign * row["value"], "ci_low": low, "ci_high": high})
    return Markup("{} {}").format(text.value, _soft(text.interval))


def _count(standing: Standing) -> str:
    one, many = ("identity", "identities") if standing.task == IDENTITY else ("image", "images")
    return f"{standing.n:,} {one if standing.n == 1 else many}"


def _task(standing: Standing) -> str:
    return _words(standing.task)


def _words(task: str) -> str:
    return task.replace("_", " ")


def _listed(parts: Sequence[Markup], *, most: int | None = None) -> Markup:
    """`a, b and c`; with `most` parts, those beyond it as a number."""
    if most is not None and len(parts) > most:
        parts = [*parts[: most - 1], Markup("{} more").format(len(parts) - most + 1)]
    *first, last = parts
    return Markup("{} and {}").format(Markup(", ").join(first), last) if first else last


def _bold(name: str) -> Markup:
    return Markup("<b>{}</b>").format(_code(name))


def _code(name: str) -> Markup:
    return Markup("<code>{}</code>").format(name)


def _soft(interval: str) -> Markup:
    return Markup('<span class="interval">{}</span>').format(interval)


def edges(sweeps: Sequence[Mapping[str, Any]]) -> Markup | None:
    """What to do about probes whose L2 is the smallest or the largest that was tried; None if there are none."""
    found = [row for row in sweeps if row["edge"]]
    if not found:
        return None
    ends = [
        Markup("the {}, {:g}, in {}").format(edge, of_edge[0]["l2"], len(of_edge))
        for edge in ("smallest", "largest")
        if (of_edge := [row for row in found if row["edge"] == edge])
    ]
    text = "The L2 regularisation of {} of {} probes is at the edge of the sweep ({}): widen <code>probe.l2</code>."
    return Markup(text).format(len(found), len(sweeps), _listed(ends))


def further_unconverged(further: Mapping[str, Converged]) -> Markup | None:
    """How many probes of curves, few shots and parts stopped before the optimum; None if there are none."""
    found = [f"{of.all - of.converged} of {of.all} for {what}" for what, of in further.items() if of.converged < of.all]
    if not found:
        return None
    text = "Of further probes, {} did not converge within <code>probe.max_iter</code> steps: raise it."
    return Markup(text).format(_listed([Markup.escape(clause) for clause in found]))


def unconverged(sweeps: Sequence[Mapping[str, Any]]) -> Markup | None:
    """The probes whose solver stopped before the optimum, and what to do; None if there are none."""
    found = [row for row in sweeps if not row["is_converged"]]
    if not found:
        return None
    of_task: dict[str, list[str]] = {}
    for row in found:
        of_task.setdefault(f"{row['dataset']} {_words(row['task'])}", []).append(row["method"])
    tasks = [
        Markup("{} (for {})").format(task, _listed([_code(name) for name in dict.fromkeys(methods)], most=NAMED))
        for task, methods in of_task.items()
    ]
    text = (
        "{} of {} probes did not converge within <code>probe.max_iter</code> steps, on {}: "
        "their numbers may be off, raise it."
    )
    return Markup(text).format(len(found), len(sweeps), _listed(tasks))
