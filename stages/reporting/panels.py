"""Figures of several panels that share one look: grid, colours of methods, legend."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.reporting import png
from stages.reporting.png import INK
from stages.reporting.results import CONTROL

# The palette of Okabe and Ito, safe for all kinds of colour vision, then darker colours for long lists of methods.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"),
    *("#332288", "#882255", "#999933", "#661100", "#44AA99"),
)
CONTROL_COLOUR = "#8A8A8A"  # grey
FAINT = "#DDDDDD"
DPI = 160
PER_ROW = 3
LINES = ("-o", "--s", ":^")  # of the methods that have each colour, in their order


def grid(count: int, size: Callable[[int, int], tuple[float, float]]) -> tuple[Figure, list[Axes]]:
    """A figure with at least `count` panels, PER_ROW in a row, those beyond `count` blank.

    Args:
        count: may be 0, which leaves one blank panel.
        size: of the figure in inches, from its columns and rows.
    """
    columns = min(max(count, 1), PER_ROW)
    rows = max(-(-count // columns), 1)
    figure = Figure(figsize=size(columns, rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for blank in panels[count:]:
        blank.set_axis_off()
    return figure, panels


def colours(methods: Sequence[str]) -> dict[str, str]:
    """One colour per method, the same in every figure."""
    others = [method for method in methods if method != CONTROL]
    of_method = {method: COLOURS[index % len(COLOURS)] for index, method in enumerate(others)}
    return {method: of_method.get(method, CONTROL_COLOUR) for method in methods}


def looks(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour, and dashes and mark, of each method's line."""
    place = {name: at for at, name in enumerate(name for name in methods if name != CONTROL)}
    return {
        method: (colour, LINES[place.get(method, 0) // len(COLOURS) % len(LINES)])
        for method, colour in colours(methods).items()
    }


def draw_curves(
    axes: Axes, curves: Mapping[str, Sequence[tuple[int, float]]], methods: Sequence[str], *, level: str
) -> None:
    """A line for every method, told apart by colour, then by dashes and marks.

    Args:
        axes: of one panel.
        curves: method -> steps and values; step 0 alone is a level line.
        methods: all of the report, in its order.
        level: what the legend says of a level line.
    """
    of_method = looks(methods)
    for method in (name for name in methods if name in curves):
        steps, values = zip(*curves[method], strict=True)
        colour, line = of_method[method]
        if steps == (0,):
            axes.axhline(values[-1], ls=":", lw=1.6, color=colour, label=f"{method} ({level})")
        else:
            axes.plot(steps, values, line, ms=3, lw=1.6, color=colour, label=method)


def tidy(axes: Axes, *, lines: Literal["x", "y"]) -> None:
    """Light grid lines across one axis, no frame at the top and at the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=lines, color=FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)


def legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, below them."""
    entries = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower left",
        ncols=min(len(entries), 6),
        frameon=False,
        fontsize=8,
    )


def finish(figure: Figure, panels: Sequence[Axes], shown: int, nothing: str) -> bytes:
    """PNG with one legend for the panels that are shown; `nothing` is said where there are none."""
    if shown:
        legend(figure, panels[:shown])
    else:
        panels[0].text(0.5, 0.5, nothing, ha="center", va="center", color=INK)
    return encode(figure)


def encode(figure: Figure) -> bytes:
    return png.encode(figure, DPI)
