"""Samples of source and target frames of one face track, drawn per identity."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.modules.crops import crop_and_resize, draw_squares

# identity -> video -> track -> frames; a frame is a row number of the frame table
Tracks = Mapping[str, Mapping[str, Mapping[str, NDArray[np.int64]]]]


@dataclass(frozen=True)
class Draw:
    """Samples in the order of an epoch."""

    frames: NDArray[np.int64]  # (N, F) row numbers, target first
    boxes_xyxy_px: NDArray[np.float32]  # (N, F, 4) random square crop of every frame


def draw(
    tracks: Tracks,
    sizes: NDArray[np.int64],
    jitter_px: NDArray[np.int64],
    *,
    frames: int,
    draws_per_identity: int,
    rng: np.random.Generator,
) -> Draw:
    """One epoch: for every identity `draws_per_identity` random tracks of random videos, with distinct frames of each.

    Args:
        tracks: see `Tracks`; every track must have at least `frames` frames.
        sizes: (rows, 2) width and height of every frame, px.
        jitter_px: (rows, 2) range of the crop side of every frame, px.
        frames: frames per sample.
        draws_per_identity: 1 in the original.
        rng: source of all choices.

    Departures from the original: frames are never drawn with replacement (tracks that are too short are rejected
    before), and the last identity is not left out.
    """
    identities = sorted(tracks)
    order = rng.permutation(np.repeat(np.arange(len(identities)), draws_per_identity))
    rows = np.stack([_draw_from(tracks[identities[i]], frames, rng) for i in order])  # (N, F)
    boxes = draw_squares(sizes[rows.ravel()], jitter_px[rows.ravel()], rng)
    return Draw(rows, boxes.reshape(*rows.shape, 4))


def _draw_from(videos: Mapping[str, Mapping[str, NDArray[np.int64]]], frames: int, rng: np.random.Generator):
    video = videos[sorted(videos)[rng.integers(len(videos))]]
    track = video[sorted(video)[rng.integers(len(video))]]
    return rng.choice(track, size=frames, replace=False)


def batches(
    drawn: Draw,
    load: Callable[[int], NDArray[np.uint8]],
    *,
    batch: int,
    size_px: int,
    device: torch.device,
    workers: int = 4,
) -> Iterator[Tensor]:
    """Batches (B, F, 3, size_px, size_px) in [0, 1] on `device`; an incomplete last batch is left out.

    Args:
        drawn: an epoch of samples.
        load: row number -> RGB frame (H, W, 3) uint8; called from several threads.
        batch: samples per batch B.
        size_px: side of the network's input.
        device: where crops are scaled; only the pixels inside them go there.
        workers: decoding threads; frames are decoded up to two batches ahead, the order stays.
    """
    chunks = [slice(start, start + batch) for start in range(0, len(drawn.frames) - batch + 1, batch)]
    with ThreadPoolExecutor(workers) as pool:
        pending = ([pool.submit(load, int(row)) for row in drawn.frames[chunk].ravel()] for chunk in chunks)
        queue = list(islice(pending, 2))
        for chunk in chunks:
            boxes = drawn.boxes_xyxy_px[chunk].reshape(-1, 4)
            pixels = stack([_inside(box, future.result()) for box, future in zip(boxes, queue.pop(0), strict=True)])
            queue += islice(pending, 1)
            whole = torch.from_numpy(boxes - np.tile(boxes[:, :2], 2))  # the same squares relative to their corners
            cropped = crop_and_resize(pixels.to(device), whole.to(device), size_px)
            yield cropped.unflatten(0, (batch, -1))


def _inside(box_xyxy_px: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    x0, y0, x1, y1 = box_xyxy_px.astype(int)
    return image[y0:y1, x0:x1]


def stack(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Images (h, w, 3) of different sizes -> (N, H, W, 3) uint8, each at the top left, zeros beyond it."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    canvas = np.zeros((len(images), height, width, 3), np.uint8)
    for slot, image in zip(canvas, images, strict=True):
        slot[: image.shape[0], : image.shape[1]] = image
    return torch.from_numpy(canvas)
