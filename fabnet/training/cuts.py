"""Squares of frames, batch by batch in one buffer each, loaded by threads while the network works.

Two batches are loaded ahead. The order does not depend on the number of threads. All batches of an epoch have one
shape: (n, S, S, 3) uint8 with a square at the top left of each image, beyond it anything, and (n, 4) the squares in px.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Wanted = Sequence[tuple[Ints, Floats]]  # for each batch: row numbers (n,), and a square of each frame (n, 4) in px
Work = TypeVar("Work")

AHEAD = 2


def loaded(
    wanted: Wanted, load: Callable[[int], NDArray[np.uint8]], *, side_px: int, workers: int, pinned: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches on the CPU.

    Args:
        wanted: see `Wanted`.
        load: row number -> RGB frame (H, W, 3) uint8; called from several threads.
        side_px: S, at least the side of every square.
        workers: threads, each of which loads a part of every batch.
        pinned: into memory that a GPU fetches while the CPU goes on; PyTorch uses it again once it is fetched.
    """

    def start(rows: Ints, boxes: Floats) -> tuple[Tensor, Tensor, list[Future[None]]]:
        pixels = _memory((len(rows), side_px, side_px, 3), pinned=pinned)
        parts = zip(*(np.array_split(each, workers) for each in (rows, boxes, pixels.numpy())), strict=True)
        return pixels, _moved(boxes, pinned=pinned), [pool.submit(_load, load, *part) for part in parts]

    with ThreadPoolExecutor(workers) as pool:
        for pixels, squares, parts in _ahead(start(*batch) for batch in wanted):
            for part in parts:
                part.result()
            yield pixels, squares


def decoded(
    wanted: Wanted,
    load: Callable[[int], Any],
    decode: Callable[[list[Any]], Sequence[Tensor]],
    *,
    side_px: int,
    workers: int,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches on `device`, where one more thread decodes a whole batch at once.

    On a GPU that thread has its own stream, so that the network is not waited for.

    Args:
        wanted: see `Wanted`.
        load: row number -> what `decode` takes; called from several threads.
        decode: what was loaded for a batch -> RGB frames (H, W, 3) uint8 on `device`.
        side_px: S, at least the side of every square.
        workers: threads, each of which loads a part of every batch.
        device: where the frames are decoded.
    """
    on_gpu = device.type == "cuda"
    stream = torch.cuda.Stream(device) if on_gpu else None

    def start(rows: Ints, boxes: Floats) -> tuple[Future[Tensor], Tensor]:
        parts = [pool.submit(_load_all, load, part) for part in np.array_split(rows, workers)]
        return decoder.submit(cut, parts, boxes), _moved(boxes, pinned=on_gpu)

    def cut(parts: list[Future[list[Any]]], boxes: Floats) -> Tensor:
        encoded = [each for part in parts for each in part.result()]
        with torch.cuda.stream(stream):
            pixels = torch.empty((len(encoded), side_px, side_px, 3), dtype=torch.uint8, device=device)
            _cut(decode(encoded), boxes, pixels)
        if stream is not None:
            stream.synchronize()
        return pixels

    with ThreadPoolExecutor(workers) as pool, ThreadPoolExecutor(1) as decoder:
        for decoding, squares in _ahead(start(*batch) for batch in wanted):
            pixels = decoding.result()
            if on_gpu:
                pixels.record_stream(torch.cuda.current_stream(device))
            yield pixels, squares


def _ahead(started: Iterator[Work]) -> Iterator[Work]:
    """The same; AHEAD more have been started when one comes out."""
    waiting = deque(islice(started, AHEAD))
    while waiting:
        waiting.extend(islice(started, 1))
        yield waiting.popleft()


def _memory(shape: tuple[int, ...], *, pinned: bool) -> Tensor:
    """Uninitialised uint8; NumPy's is in huge pages on Linux."""
    if pinned:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    return torch.from_numpy(np.empty(shape, np.uint8))


def _moved(boxes_xyxy_px: Floats, *, pinned: bool) -> Tensor:
    """(n, 4) the squares at the top left."""
    squares = torch.from_numpy(boxes_xyxy_px - np.tile(boxes_xyxy_px[:, :2], 2))
    return squares.pin_memory() if pinned else squares


def _load(load: Callable[[int], NDArray[np.uint8]], rows: Ints, boxes: Floats, slots: NDArray[np.uint8]) -> None:
    _cut(map(load, rows.tolist()), boxes, slots)


def _load_all(load: Callable[[int], Any], rows: Ints) -> list[Any]:
    return [load(row) for row in rows.tolist()]


def _cut(images: Iterable[Any], boxes_xyxy_px: Floats, slots: Any) -> None:
    """Put the square of each image (H, W, 3) at the top left of its slot (n, S, S, 3)."""
    for image, (x0, y0, x1, y1), slot in zip(images, boxes_xyxy_px.astype(int).tolist(), slots, strict=True):
        slot[: y1 - y0, : x1 - x0] = image[y0:y1, x0:x1]
