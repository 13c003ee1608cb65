"""The health of every training: read from its history, drawn, and told where something went wrong."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from fabnet.training import health
from stages.reporting import panels
from stages.reporting.panels import tidy
from stages.reporting.png import INK
from stages.reporting.results import Run
from stages.runtime import tables
from stages.training.watch import losses

# Measures of `fabnet.training.health` in the order of their panels.
TITLES = {
    "effective_rank": "effective rank",
    "dead_share": "share of dimensions with almost no variance",
    "never_positive_share": "share of dimensions that are never positive",
    "knn_track": "nearest frame is of the same track, share",
    "knn_identity": "nearest of another video: same identity, share",
}


@dataclass(frozen=True)
class Health:
    """Measures of one training at its checkpoints."""

    method: str
    seed: int
    of_step: Mapping[int, Mapping[str, float]]  # rising steps of the training -> measures by name
    of_losses: str | None = None  # what is wrong with the losses at the end, in one clause

    @property
    def problem(self) -> str | None:
        """Why the encoder counts as collapsed at the end of its training, in one clause."""
        last = max(self.of_step)  # 0: solved in closed form
        return (health.problem if last else health.rank_problem)(self.of_step[last])

    @property
    def cause(self) -> str | None:
        """What is wrong with its frames or its losses, in one clause."""
        return health.still(self.of_step[min(self.of_step)]) or self.of_losses


def read(models: Path, runs: Iterable[Run]) -> list[Health]:
    """Of every run whose encoder was trained or solved for."""
    found: list[Health] = []
    for run in runs:
        of_step: dict[int, dict[str, float]] = {}
        history = tables.read(models / run.folder / "history.parquet", tables.HISTORY).to_pylist()
        for row in history:
            if row["metric"] in (*TITLES, "watched_frames", "still_share"):
                of_step.setdefault(row["step"], {})[row["metric"]] = row["value"]
        if of_step:
            first, train, val = losses(history)
            of_losses = health.loss_problem(first, train, val) if train else None
            found.append(Health(run.method, run.seed, dict(sorted(of_step.items())), of_losses))
    return found


def curves(trainings: Sequence[Health], measure: str) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of one measure by method, means over the seeds that have the step."""
    return {method: points for method in _methods(trainings) if (points := list(_means(trainings, method, measure)))}


def collapsed(trainings: Iterable[Health]) -> list[str]:
    """For every training whose encoder has collapsed `fabnet, seed 0: ` and why, in one clause."""
    return [f"{each.method}, seed {each.seed}: {each.problem}" for each in trainings if each.problem]


def causes(trainings: Iterable[Health]) -> list[str]:
    """For every training whose frames or losses are wrong `fabnet, seed 0: ` and what is, in one clause."""
    return [f"{each.method}, seed {each.seed}: {each.cause}" for each in trainings if each.cause]


def draw(trainings: Sequence[Health], methods: Sequence[str]) -> bytes:
    """A panel for every measure, a line for every trained method; one solved in closed form is a level line."""
    shown = {measure: curves(trainings, measure) for measure in TITLES}
    shown = {measure: of_method for measure, of_method in shown.items() if of_method}
    figure, grid = panels.grid(len(shown), lambda columns, rows: (max(4.2 * columns, 4.6), 3.0 * rows + 0.5))
    for axes, (measure, of_method) in zip(grid, shown.items(), strict=False):
        panels.draw_curves(axes, of_method, methods, level="in closed form")
        axes.set_title(TITLES[measure], loc="left", fontsize=10, color=INK)
        axes.set_xlabel("steps of the training", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_ylim(bottom=0)
        tidy(axes, lines="y")
    return panels.finish(figure, grid, len(shown), "no method was trained")


def _methods(trainings: Iterable[Health]) -> list[str]:
    return list(dict.fromkeys(each.method for each in trainings))


def _means(trainings: Iterable[Health], method: str, measure: str) -> Iterator[tuple[int, float]]:
    values_of: dict[int, list[float]] = {}
    for each in trainings:
        for step, values in each.of_step.items():
            if each.method == method and measure in values:
                values_of.setdefault(step, []).append(values[measure])
    for step, values in sorted(values_of.items()):
        yield step, sum(values) / len(values)
