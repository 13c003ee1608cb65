"""Pictures of what the networks do, as PNG bytes; equal input gives equal bytes.

Pictures are (H, W, 3) in [0, 1], red first. Sizes of the page are in px.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.reporting import png
from stages.reporting.png import INK, SOFT

Array = NDArray[np.floating[Any]]

DPI = 100
TILE, GAP, MARGIN, HEAD, LINE = 132, 8, 16, 22, 18
NAME, SCALE = 64, 14  # width of a method's name, height of a colour scale
HEAT, ERROR = "viridis", "magma"


@dataclass(frozen=True)
class Warped:
    """One target frame, rebuilt from one source frame."""

    source: Array
    target: Array
    result: Array
    flow: Array  # (H, W, 2) x and y, from a target pixel to where it is taken from, shares of the frame's side


@dataclass(frozen=True)
class Mixed:
    """One target frame, rebuilt from several source frames."""

    sources: Sequence[Array]
    weights: Sequence[Array]  # (H, W) of each source, at the target's pixels; they add up to 1
    target: Array
    result: Array


@dataclass(frozen=True)
class Retrieved:
    """A picture and those nearest to it, by method."""

    query: Array
    nearest: Mapping[str, Sequence[tuple[Array, float]]]  # picture and cosine similarity, best first


class Board:
    """A white page on which pictures and words are placed by px from its top left."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def picture(self, x: int, y: int, pixels: Array, width: int = TILE, height: int = TILE, **style: Any) -> None:
        """`pixels` scaled to `width` x `height`; `style` as matplotlib's imshow."""
        left, bottom = x / self._width, 1 - (y + height) / self._height
        axes = self._figure.add_axes((left, bottom, width / self._width, height / self._height))
        axes.imshow(pixels, aspect="auto", interpolation="bilinear", **style)
        axes.set_axis_off()

    def words(self, x: int, y: int, text: str, *, size: float = 12, colour: str = INK, align: str = "left") -> None:
        """One line, its top at `y`."""
        place = (x / self._width, 1 - y / self._height)
        points = size * 72 / DPI
        self._figure.text(*place, text, va="top", ha=align, fontsize=points, color=colour, parse_math=False)

    def png(self) -> bytes:
        return png.encode(self._figure, DPI)


def warp(rows: Sequence[Warped]) -> bytes:
    """Source, target, result, flow and error of every row, with the scales of both below."""
    names = ("source", "target", "source, warped", "flow", "absolute error")
    board, top = _page(len(rows), names, foot=TILE // 2 + LINE)
    reach = max(float(np.percentile(np.linalg.norm(row.flow, axis=2), 99)) for row in rows)
    errors = [np.abs(row.result - row.target).mean(axis=2) for row in rows]
    worst = max(float(error.max()) for error in errors)
    for number, (row, error) in enumerate(zip(rows, errors, strict=True)):
        y = top + number * (TILE + LINE + GAP)
        for column, picture in enumerate((row.source, row.target, row.result, _colours(row.flow, reach))):
            board.picture(_left(column), y, picture)
        board.picture(_left(4), y, error, cmap=ERROR, vmin=0, vmax=worst)
        for column, picture in ((0, row.source), (2, row.result)):
            distance = np.abs(picture - row.target).mean()
            board.words(_left(column), y + TILE + 2, f"L1 to target {distance:.3f}", size=11, colour=SOFT)
    y = top + len(rows) * (TILE + LINE + GAP)
    _wheel(board, _left(3), y, reach)
    _scale(board, _left(4), y, ERROR, ("0", f"{worst:.2f}"))
    board.words(_left(0), y, "L1: mean absolute difference; pictures in [0, 1].", size=11, colour=SOFT)
    board.words(_left(0), y + LINE, "Flow leads from a pixel of the target to the place in the", size=11, colour=SOFT)
    board.words(_left(0), y + 2 * LINE, "source that it is taken from.", size=11, colour=SOFT)
    return board.png()


def confidence(rows: Sequence[Mixed]) -> bytes:
    """Every source frame with the weight of its pixels, then target and result."""
    count = len(rows[0].sources)
    names = [name for number in range(1, count + 1) for name in (f"source {number}", "its weight")]
    board, top = _page(len(rows), [*names, "target", "result"], foot=SCALE + LINE)
    weights = np.array([row.weights for row in rows])  # (R, S, H, W)
    low, high = float(weights.min()), float(weights.max())
    for number, row in enumerate(rows):
        y = top + number * (TILE + LINE + GAP)
        for place, (source, weight) in enumerate(zip(row.sources, row.weights, strict=True)):
            board.picture(_left(2 * place), y, source)
            board.picture(_left(2 * place + 1), y, weight, cmap=HEAT, vmin=low, vmax=high)
            board.words(_left(2 * place + 1), y + TILE + 2, f"mean {weight.mean():.2f}", size=11, colour=SOFT)
        board.picture(_left(2 * count), y, row.target)
        board.picture(_left(2 * count + 1), y, row.result)
        distance = np.abs(row.result - row.target).mean()
        board.words(_left(2 * count + 1), y + TILE + 2, f"L1 to target {distance:.3f}", size=11, colour=SOFT)
    y = top + len(rows) * (TILE + LINE + GAP)
    _scale(board, _left(1), y, HEAT, (f"{low:.2f}", f"{high:.2f}"))
    text = f"Weights lie at the pixels of the target and add up to 1 over its sources; alike would be {1 / count:.2f}."
    board.words(_left(2), y, text, size=11, colour=SOFT)
    return board.png()


def neighbours(rows: Sequence[Retrieved]) -> bytes:
    """The query at the left; beside it one line of neighbours per method, with their cosine similarity."""
    methods = list(rows[0].nearest)
    most = max(len(found) for row in rows for found in row.nearest.values())
    line = TILE + LINE + GAP
    block = len(methods) * line + 2 * GAP
    start = MARGIN + TILE + 2 * GAP + NAME
    board = Board(start + most * (TILE + GAP) - GAP + MARGIN, 2 * MARGIN + HEAD + len(rows) * block - 2 * GAP)
    board.words(MARGIN, MARGIN, "query")
    board.words(start, MARGIN, "nearest first; below each its cosine similarity")
    for number, row in enumerate(rows):
        y = MARGIN + HEAD + number * block
        board.picture(MARGIN, y + (len(methods) - 1) * line // 2, row.query)
        for place, method in enumerate(methods):
            at = y + place * line
            board.words(start - GAP, at + TILE // 2 - 8, method, align="right")
            for rank, (picture, similarity) in enumerate(row.nearest[method]):
                x = start + rank * (TILE + GAP)
                board.picture(x, at, picture)
                board.words(x, at + TILE + 2, f"{similarity:.2f}", size=11, colour=SOFT)
    return board.png()


def _page(rows: int, names: Sequence[str], *, foot: int) -> tuple[Board, int]:
    """A page for rows of tiles under the names of their columns, and where the first row begins."""
    top = MARGIN + HEAD
    height = top + rows * (TILE + LINE + GAP) + foot + MARGIN
    board = Board(2 * MARGIN + len(names) * (TILE + GAP) - GAP, height)
    for column, name in enumerate(names):
        board.words(_left(column), MARGIN, name)
    return board, top


def _left(column: int) -> int:
    return MARGIN + column * (TILE + GAP)


def _colours(flow: Array, reach: float) -> Array:
    """Direction as hue, length as saturation, which is full at `reach`; white stands still."""
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    saturation = np.clip(np.linalg.norm(flow, axis=-1) / max(reach, 1e-12), 0, 1)
    return hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1))


def _wheel(board: Board, x: int, y: int, reach: float) -> None:
    """The colours of all directions up to `reach`, as seen from the middle."""
    side = TILE // 2
    across, down = np.meshgrid(*[np.linspace(-1, 1, 2 * side)] * 2)
    wheel = _colours(np.stack([across, down], axis=-1), 1.0)
    wheel[np.hypot(across, down) > 1] = 1
    board.picture(x, y, wheel, side, side)
    for number, text in enumerate(("full colour:", f"{100 * reach:.1f} % of", "the side")):
        board.words(x + side + 4, y + 6 + number * LINE, text, size=11, colour=SOFT)


def _scale(board: Board, x: int, y: int, colours: str, ends: tuple[str, str]) -> None:
    board.picture(x, y, np.linspace(0, 1, 256)[None], TILE, SCALE, cmap=colours)
    board.words(x, y + SCALE + 2, ends[0], size=11, colour=SOFT)
    board.words(x + TILE, y + SCALE + 2, ends[1], size=11, colour=SOFT, align="right")
