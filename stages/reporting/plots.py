"""The figures of results and of training as PNG bytes; equal input gives equal bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from stages.evaluation import scores
from stages.reporting import panels
from stages.reporting.contents import LearningCurves, LossCurve, Point
from stages.reporting.panels import tidy
from stages.reporting.png import INK
from stages.reporting.results import CONTROL

SHADE = 0.12  # opacity of an interval


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
    chance: float | None  # chance level, where it is a constant


def summary(tasks: Sequence[Panel], methods: Sequence[str]) -> bytes:
    """One panel per task, one bar with its interval per method."""
    height = 0.55 * len(methods) + 1.5
    figure, grid = panels.grid(len(tasks), lambda columns, rows: (max(3.6 * columns, 4.0), height * rows))
    colours = panels.colours(methods)
    for axes, panel in zip(grid, tasks, strict=False):
        _bars(axes, panel, colours)
    return panels.encode(figure)


def loss_curves(curves: Sequence[LossCurve], methods: Sequence[str]) -> bytes:
    """One panel per trained method: validation loss full, training loss dashed, one pair of lines per seed."""
    trained = [method for method in methods if any(curve.method == method for curve in curves)]
    figure, grid = panels.grid(len(trained), lambda columns, rows: (max(3.8 * columns, 4.6), 2.8 * rows))
    colours = panels.colours(methods)
    for axes, method in zip(grid, trained, strict=False):
        for index, curve in enumerate(curve for curve in curves if curve.method == method):
            for split, style, name in (("train", "--", "training split"), ("val", "-", "validation split")):
                label = name if index == 0 else None  # one entry for all seeds
                axes.plot(curve.epochs, curve.losses[split], style, color=colours[method], lw=1.6, label=label)
        axes.set_title(f"{method}: pretext loss", loc="left", fontsize=10, color=INK)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
        tidy(axes, lines="y")
    if not trained:
        grid[0].text(0.5, 0.5, "no method was trained", ha="center", va="center", color=INK)
    return panels.encode(figure)


def learning_curves(tasks: Sequence[LearningCurves], methods: Sequence[str]) -> bytes:
    """One panel per task, one line per trained method; a method that is not trained is a level line.

    Shaded are the intervals of two methods alone, to keep the lines visible: the first one and the untrained encoder.
    """
    figure, grid = panels.grid(len(tasks), lambda columns, rows: (4.2 * columns, 3.0 * rows + 0.5))
    shaded = panels.colours(methods)
    for axes, task in zip(grid, tasks, strict=False):
        lines = {method: [(point.step, point.value) for point in points] for method, points in task.points.items()}
        panels.draw_curves(axes, lines, methods, level="not trained")
        for method in (name for name in dict.fromkeys((*methods[:1], CONTROL)) if name in task.points):
            _shade(axes, task.points[method], shaded[method])
        axes.set_title(f"{task.dataset} · {task.task}", loc="left", fontsize=10, color=INK)
        axes.set_xlabel("steps", fontsize=9)
        axes.set_ylabel(scores.axis(task.metric), fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        tidy(axes, lines="y")
    return panels.finish(figure, grid, len(tasks), "no learning curves were measured")


def _shade(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """The interval around a line; across the whole panel around a level one."""
    steps, _, low, high = (list(column) for column in zip(*points, strict=True))
    if steps == [0]:
        axes.axhspan(low[0], high[0], color=colour, alpha=SHADE, lw=0)
    else:
        axes.fill_between(steps, low, high, color=colour, alpha=SHADE, lw=0)


def _bars(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    heights = np.arange(len(panel.bars))[::-1]  # the first method on top
    values = np.array([bar.value for bar in panel.bars])
    ends = np.array([(bar.ci_low, bar.ci_high) for bar in panel.bars]).reshape(-1, 2)
    ends = np.where(np.isfinite(ends), ends, values[:, None])  # a value without an interval stands for its ends
    spread = ((ends - values[:, None]) * (-1, 1)).clip(min=0)
    axes.barh(
        heights,
        values,
        xerr=spread.T,
        height=0.62,
        color=[colours[bar.method] for bar in panel.bars],
        error_kw={"ecolor": INK, "elinewidth": 1.2, "capsize": 3},
    )
    axes.set_yticks(heights, [bar.method for bar in panel.bars])
    right = ends[:, 1].max() if panel.bars else 1.0
    for height, bar, end in zip(heights, panel.bars, ends[:, 1].tolist(), strict=True):
        text = f"{bar.value:.{panel.decimals}f}"
        axes.text(end + 0.02 * right, height, text, va="center", fontsize=9, color=INK)
    axes.set_xlim(0, 1.18 * max(right, panel.published or 0.0))
    label = panel.axis
    for reference, style, name in (
        (panel.published, "--", "dashed: published"),
        (panel.chance, ":", "dotted: chance"),
    ):
        if reference is not None:
            axes.axvline(reference, ls=style, lw=1.2, color=INK)
            label = f"{label}, {name}"
    axes.set_title(panel.title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(label, fontsize=9)
    tidy(axes, lines="x")
