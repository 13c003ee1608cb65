"""Figures of learning curves and of ROC, precision and recall as PNG bytes; equal input gives equal bytes."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.evaluation import scores
from stages.reporting.inventory import LearningCurves
from stages.reporting.plots import INK, colours, png, tidy
from stages.reporting.results import CONTROL, LEVELS, ClassCurves

PANELS_PER_ROW, CLASSES_PER_ROW = 3, 6
MOST_METHODS = 6  # lines that one panel of ROC or precision and recall can hold


def learning(panels: Sequence[LearningCurves], methods: Sequence[str]) -> bytes:
    """One panel per task, one line per trained method; a method without steps is a level line."""
    columns = min(max(len(panels), 1), PANELS_PER_ROW)
    rows = max(-(-len(panels) // columns), 1)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    of_method = colours(methods)
    for axes, panel in zip(grid, panels, strict=False):
        for method in (name for name in methods if name in panel.points):
            steps, values = zip(*panel.points[method], strict=True)
            if steps == (0,):
                axes.axhline(values[-1], ls=":", lw=1.6, color=of_method[method], label=f"{method} (not trained)")
            else:
                axes.plot(steps, values, "-o", ms=3, lw=1.6, color=of_method[method], label=method)
        axes.set_title(f"{panel.dataset} · {panel.task}", loc="left", fontsize=10, color=INK)
        axes.set_xlabel("steps", fontsize=9)
        axes.set_ylabel(scores.axis(panel.metric), fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        tidy(axes, grid="y")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    if panels:
        _legend(figure, grid[: len(panels)])
    else:
        grid[0].text(0.5, 0.5, "no learning curves were measured", ha="center", va="center", color=INK)
    return png(figure)


def roc_pr(classes: Sequence[ClassCurves], methods: Sequence[str]) -> bytes:
    """A panel per class with the methods as lines: first the ROC curves, below them precision over recall."""
    columns = min(len(classes), CLASSES_PER_ROW)
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(1.9 * columns + 0.4, 3.9 * rows + 0.6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    of_method = colours(methods)
    kinds = (
        (above, "ROC", "false positive rate", "true positive rate"),
        (below, "precision and recall", "recall", "precision"),
    )
    for panel, title, x_name, y_name in kinds:
        grid = panel.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, curves in zip(grid.ravel(), classes, strict=False):
            lines = curves.roc if panel is above else curves.precision
            chance = ([0, 1], [0, 1] if panel is above else [curves.share] * 2)
            axes.plot(*chance, ls=":", lw=1.0, color=INK)
            for method in lines:
                axes.plot(LEVELS, lines[method], lw=1.3, color=of_method[method], label=method)
            axes.set_title(curves.name, loc="left", fontsize=9, color=INK)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.02)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            tidy(axes, grid="y")
        for axes in grid.ravel()[len(classes) :]:
            axes.set_axis_off()
        panel.suptitle(f"{title}; dotted: chance", x=0.01, ha="left", fontsize=10, color=INK)
        panel.supxlabel(x_name, fontsize=9)
        panel.supylabel(y_name, fontsize=9)
    _legend(figure, above.axes[:1])
    return png(figure)


def shown(methods: Sequence[str]) -> list[str]:
    """All methods if they are few, else the first ones and the control."""
    if len(methods) <= MOST_METHODS:
        return list(methods)
    others = [method for method in methods if method != CONTROL]
    control = [CONTROL] if CONTROL in methods else []
    return others[: MOST_METHODS - len(control)] + control


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, above them."""
    entries = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower left",
        ncols=min(len(entries), 6),
        frameon=False,
        fontsize=8,
    )
