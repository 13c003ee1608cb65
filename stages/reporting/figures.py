"""Figures of what the networks do, as PNG bytes; equal input gives equal bytes.

Images are RGB (H, W, 3) in [0, 1]. Sizes are in px.
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
    """One target frame, reconstructed from one source frame."""

    source: Array
    target: Array
    result: Array
    flow: Array  # (H, W, 2) x and y, from a pixel of the target to its source pixel, as shares of the frame's side


@dataclass(frozen=True)
class Mixed:
    """One target frame, reconstructed from several source frames."""

    sources: Sequence[Array]
    weights: Sequence[Array]  # (H, W) of each source, at the target's pixels; they add up to 1
    target: Array
    result: Array


@dataclass(frozen=True)
class Retrieved:
    """An image and its nearest neighbours, by method."""

    query: Array
    nearest: Mapping[str, Sequence[tuple[Array, float]]]  # image and cosine similarity, best first


class Board:
    """A white page; images and text are placed by px from its top left."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def image(self, x: int, y: int, pixels: Array, width: int = TILE, height: int = TILE, **style: Any) -> None:
        """`pixels` scaled to `width` x `height`; `style` as matplotlib's imshow."""
        left, bottom = x / self._width, 1 - (y + height) / self._height
        axes = self._figure.add_axes((left, bottom, width / self._width, height / self._height))
        axes.imshow(pixels, aspect="auto", interpolation="bilinear", **style)
        axes.set_axis_off()

    def text(self, x: int, y: int, text: str, *, size: float = 12, colour: str = INK, align: str = "left") -> None:
        """One line, its top at `y`."""
        position = (x / self._width, 1 - y / self._height)
        points = size * 72 / DPI
        self._figure.text(*position, text, va="top", ha=align, fontsize=points, color=colour, parse_math=False)

    def png(self) -> bytes:
        return png.encode(self._figure, DPI)


def warp(rows: Sequence[Warped]) -> bytes:
    """Source, target, result, flow and error of every row; scales of flow and error below."""
    names = ("source", "target", "source, warped", "flow", "absolute error")
    board, top = _page(len(rows), names, foot=TILE // 2 + LINE)
    reach = max(float(np.percentile(np.linalg.norm(row.flow, axis=2), 99)) for row in rows)
    errors = [np.abs(row.result - row.target).mean(axis=2) for row in rows]
    worst = max(float(error.max()) for error in errors)
    for number, (row, error) in enumerate(zip(rows, errors, strict=True)):
        y = top + number * (TILE + LINE + GAP)
        for column, image in enumerate((row.source, row.target, row.result, _colours(row.flow, reach))):
            board.image(_left(column), y, image)
        board.image(_left(4), y, error, cmap=ERROR, vmin=0, vmax=worst)
        for column, image in ((0, row.source), (2, row.result)):
            distance = np.abs(image - row.target).mean()
            board.text(_left(column), y + TILE + 2, f"L1 to target {distance:.3f}", size=11, colour=SOFT)
    y = top + len(rows) * (TILE + LINE + GAP)
    _wheel(board, _left(3), y, reach)
    _scale(board, _left(4), y, ERROR, ("0", f"{worst:.2f}"))
    board.text(_left(0), y, "L1: mean absolute difference; images in [0, 1].", size=11, colour=SOFT)
    board.text(_left(0), y + LINE, "Flow points from a pixel of the target to the pixel of the", size=11, colour=SOFT)
    board.text(_left(0), y + 2 * LINE, "source that it is sampled from.", size=11, colour=SOFT)
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
        for index, (source, weight) in enumerate(zip(row.sources, row.weights, strict=True)):
            board.image(_left(2 * index), y, source)
            board.image(_left(2 * index + 1), y, weight, cmap=HEAT, vmin=low, vmax=high)
            board.text(_left(2 * index + 1), y + TILE + 2, f"mean {weight.mean():.2f}", size=11, colour=SOFT)
        board.image(_left(2 * count), y, row.target)
        board.image(_left(2 * count + 1), y, row.result)
        distance = np.abs(row.result - row.target).mean()
        board.text(_left(2 * count + 1), y + TILE + 2, f"L1 to target {distance:.3f}", size=11, colour=SOFT)
    y = top + len(rows) * (TILE + LINE + GAP)
    _scale(board, _left(1), y, HEAT, (f"{low:.2f}", f"{high:.2f}"))
    text = (
        f"Weights are per pixel of the target and add up to 1 over its sources; equal weights would be {1 / count:.2f}."
    )
    board.text(_left(2), y, text, size=11, colour=SOFT)
    return board.png()


def neighbours(rows: Sequence[Retrieved]) -> bytes:
    """The query at the left; beside it one row of neighbours per method, with their cosine similarity."""
    methods = list(rows[0].nearest)
    most = max(len(images) for row in rows for images in row.nearest.values())
    line = TILE + LINE + GAP
    block = len(methods) * line + 2 * GAP
    start = MARGIN + TILE + 2 * GAP + NAME
    board = Board(start + most * (TILE + GAP) - GAP + MARGIN, 2 * MARGIN + HEAD + len(rows) * block - 2 * GAP)
    board.text(MARGIN, MARGIN, "query")
    board.text(start, MARGIN, "nearest first; below each its cosine similarity")
    for number, row in enumerate(rows):
        y = MARGIN + HEAD + number * block
        board.image(MARGIN, y + (len(methods) - 1) * line // 2, row.query)
        for index, method in enumerate(methods):
            at = y + index * line
            board.text(start - GAP, at + TILE // 2 - 8, method, align="right")
            for rank, (image, similarity) in enumerate(row.nearest[method]):
                x = start + rank * (TILE + GAP)
                board.image(x, at, image)
                board.text(x, at + TILE + 2, f"{similarity:.2f}", size=11, colour=SOFT)
    return board.png()


def _page(rows: int, names: Sequence[str], *, foot: int) -> tuple[Board, int]:
    """A page with column names for rows of tiles, and the y of the first row."""
    top = MARGIN + HEAD
    height = top + rows * (TILE + LINE + GAP) + foot + MARGIN
    board = Board(2 * MARGIN + len(names) * (TILE + GAP) - GAP, height)
    for column, name in enumerate(names):
        board.text(_left(column), MARGIN, name)
    return board, top


def _left(column: int) -> int:
    return MARGIN + column * (TILE + GAP)


def _colours(flow: Array, reach: float) -> Array:
    """Direction as hue, length as saturation, full at `reach`; white is zero flow."""
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    saturation = np.clip(np.linalg.norm(flow, axis=-1) / max(reach, 1e-12), 0, 1)
    return hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1))


def _wheel(board: Board, x: int, y: int, reach: float) -> None:
    """The colours of all directions and lengths up to `reach`."""
    side = TILE // 2
    across, down = np.meshgrid(*[np.linspace(-1, 1, 2 * side)] * 2)
    wheel = _colours(np.stack([across, down], axis=-1), 1.0)
    wheel[np.hypot(across, down) > 1] = 1
    board.image(x, y, wheel, side, side)
    for number, text in enumerate(("full colour:", f"{100 * reach:.1f} % of", "the side")):
        board.text(x + side + 4, y + 6 + number * LINE, text, size=11, colour=SOFT)


def _scale(board: Board, x: int, y: int, colours: str, ends: tuple[str, str]) -> None:
    board.image(x, y, np.linspace(0, 1, 256)[None], TILE, SCALE, cmap=colours)
    board.text(x, y + SCALE + 2, ends[0], size=11, colour=SOFT)
    board.text(x + TILE, y + SCALE + 2, ends[1], size=11, colour=SOFT, align="right")
