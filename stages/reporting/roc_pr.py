"""The figure of ROC and precision-recall curves as PNG bytes; equal input gives equal bytes."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from stages.evaluation.scores import Array
from stages.reporting import panels
from stages.reporting.panels import tidy
from stages.reporting.png import INK
from stages.reporting.results import CONTROL, LEVELS, ClassCurves

CLASSES_PER_ROW = 6
MOST_METHODS = 6  # lines that one panel can hold


def shown(methods: Sequence[str]) -> list[str]:
    """All methods if they are few, else the first ones and the control."""
    if len(methods) <= MOST_METHODS:
        return list(methods)
    others = [method for method in methods if method != CONTROL]
    control = [CONTROL] if CONTROL in methods else []
    return others[: MOST_METHODS - len(control)] + control


def draw(classes: Sequence[ClassCurves], methods: Sequence[str]) -> bytes:
    """A panel per class with the methods as lines: ROC curves above, precision over recall below.

    `methods` are all methods of the report, which have one colour in all figures; those in `classes` are drawn.
    """
    columns = min(len(classes), CLASSES_PER_ROW)
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(1.9 * columns + 0.4, 3.9 * rows + 0.6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    colours = panels.colours(methods)
    grids = [_grid(above, rows, columns, "ROC", ("false positive rate", "true positive rate")),
             _grid(below, rows, columns, "precision and recall", ("recall", "precision"))]  # fmt: skip
    for roc, precision, curves in zip(*grids, classes, strict=False):
        _draw(roc, curves.name, curves.roc, (0, 1), colours)
        _draw(precision, curves.name, curves.precision, (curves.share, curves.share), colours)
    for blank in (axes for grid in grids for axes in grid[len(classes) :]):
        blank.set_axis_off()
    panels.legend(figure, above.axes[:1])
    return panels.encode(figure)


def _grid(half: SubFigure, rows: int, columns: int, title: str, names: tuple[str, str]) -> list[Axes]:
    half.suptitle(f"{title}; dotted: chance", x=0.01, ha="left", fontsize=10, color=INK)
    half.supxlabel(names[0], fontsize=9)
    half.supylabel(names[1], fontsize=9)
    return list(half.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel())


def _draw(
    axes: Axes, title: str, lines: Mapping[str, Array], chance: tuple[float, float], colours: Mapping[str, str]
) -> None:
    """One panel; `chance` is the chance level at 0 and at 1 of the x axis."""
    axes.plot([0, 1], chance, ls=":", lw=1.0, color=INK)
    for method, values in lines.items():
        axes.plot(LEVELS, values, lw=1.3, color=colours[method], label=method)
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    tidy(axes, lines="y")
