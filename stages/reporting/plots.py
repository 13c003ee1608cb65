"""The figures of results and of training as PNG bytes; equal input gives equal bytes."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.reporting.inventory import LossCurve
from stages.reporting.results import CONTROL

# Okabe and Ito's palette: told apart with every kind of colour vision; after it darker ones for long lists of methods.
# Grey is for the control.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"),
    *("#332288", "#882255", "#999933", "#661100", "#44AA99"),
)
CONTROL_COLOUR = "#8A8A8A"
INK, FAINT = "#222222", "#DDDDDD"
DPI = 160
PANELS_PER_ROW = 3


@dataclass(frozen=True)
class Bar:
    method: str
    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Panel:
    """The headline of one task for every method."""

    title: str
    axis: str  # metric and direction
    decimals: int  # printed
    bars: Sequence[Bar]
    published: float | None
    chance: float | None  # what guessing reaches, where that is a constant


def colours(methods: Sequence[str]) -> dict[str, str]:
    """One colour per method, the same in every figure."""
    trained = [method for method in methods if method != CONTROL]
    chosen = {method: COLOURS[place % len(COLOURS)] for place, method in enumerate(trained)}
    return {method: chosen.get(method, CONTROL_COLOUR) for method in methods}


def summary(panels: Sequence[Panel], methods: Sequence[str]) -> bytes:
    """One panel per task, one bar with its interval per method."""
    columns = min(max(len(panels), 1), PANELS_PER_ROW)
    rows = max(-(-len(panels) // columns), 1)
    size = (max(3.6 * columns, 4.0), (0.55 * len(methods) + 1.5) * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    of_method = colours(methods)
    for axes, panel in zip(grid, panels, strict=False):
        _bars(axes, panel, of_method)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return png(figure)


def training(curves: Sequence[LossCurve], methods: Sequence[str]) -> bytes:
    """One panel per trained method: validation loss full, training loss dashed, one pair of lines per seed."""
    trained = [method for method in methods if any(curve.method == method for curve in curves)]
    columns = min(max(len(trained), 1), PANELS_PER_ROW)
    rows = max(-(-len(trained) // columns), 1)
    figure = Figure(figsize=(max(3.8 * columns, 4.6), 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    of_method = colours(methods)
    for axes, method in zip(grid, trained, strict=False):
        for place, curve in enumerate(curve for curve in curves if curve.method == method):
            for split, style, name in (("train", "--", "training split"), ("val", "-", "validation split")):
                label = name if place == 0 else None  # one entry for all seeds
                axes.plot(curve.epochs, curve.losses[split], style, color=of_method[method], lw=1.6, label=label)
        axes.set_title(f"{method}: pretext loss", loc="left", fontsize=10, color=INK)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
        tidy(axes, grid="y")
    for axes in grid[len(trained) :]:
        axes.set_axis_off()
    if not trained:
        grid[0].text(0.5, 0.5, "no method was trained", ha="center", va="center", color=INK)
    return png(figure)


def _bars(axes: Axes, panel: Panel, of_method: Mapping[str, str]) -> None:
    places = np.arange(len(panel.bars))[::-1]  # the first method on top
    values = np.array([bar.value for bar in panel.bars])
    spread = np.array([[bar.value - bar.ci_low, bar.ci_high - bar.value] for bar in panel.bars]).clip(min=0)
    axes.barh(
        places,
        values,
        xerr=spread.T,
        height=0.62,
        color=[of_method[bar.method] for bar in panel.bars],
        error_kw={"ecolor": INK, "elinewidth": 1.2, "capsize": 3},
    )
    axes.set_yticks(places, [bar.method for bar in panel.bars])
    room = max((bar.ci_high for bar in panel.bars), default=1.0)
    for place, bar in zip(places, panel.bars, strict=True):
        axes.text(
            bar.ci_high + 0.02 * room, place, f"{bar.value:.{panel.decimals}f}", va="center", fontsize=9, color=INK
        )
    axes.set_xlim(0, 1.18 * max(room, panel.published or 0.0))
    label = panel.axis
    for reference, style, name in ((panel.published, "--", "dashed: published"), (panel.chance, ":", "dotted: chance")):
        if reference is not None:
            axes.axvline(reference, ls=style, lw=1.2, color=INK)
            label = f"{label}, {name}"
    axes.set_title(panel.title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(label, fontsize=9)
    tidy(axes, grid="x")


def tidy(axes: Axes, *, grid: Literal["x", "y"]) -> None:
    """Light grid lines across one axis, no frame at the top and at the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)


def png(figure: Figure) -> bytes:
    """The figure's pixels, without the name of the software that drew them."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
