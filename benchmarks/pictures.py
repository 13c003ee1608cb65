"""Smooth random pictures in place of frames, and batches of them as the stage `pretrain` makes them."""

import io
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.rows import cores
from fabnet.training import pairs

IDENTITIES, FRAMES, SIDE_PX = 64, 8, 224
JITTER_PX = (170, 190)


@cache
def jpegs() -> list[bytes]:
    """FRAMES pictures of each of IDENTITIES, which compress about as faces do."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (IDENTITIES * FRAMES, 28, 28, 3), np.uint8)
    return [_jpeg(Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)) for image in coarse]


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=95)
    return file.getvalue()


def decoded(clips: list[bytes], batch: int, size_px: int, device: torch.device) -> Iterator[Tensor]:
    """Endless batches (batch, 2, 3, S, S) of pairs of `jpegs()`, drawn, decoded, cropped and scaled as in training."""
    identities = np.arange(IDENTITIES)
    tracks = pairs.Tracks.of(identities, identities, FRAMES * identities, np.full(IDENTITIES, FRAMES))
    sizes = np.tile(_size(clips[0]), (len(clips), 1))
    jitter_px = np.tile(JITTER_PX, (len(clips), 1))
    rng = np.random.default_rng(0)

    def load(row: int) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(clips[row])) as image:
            return np.asarray(image)

    while True:
        drawn = pairs.draw(tracks, sizes, jitter_px, frames=2, draws_per_identity=32 * batch, rng=rng)
        yield from pairs.batches(drawn, load, batch=batch, size_px=size_px, device=device, workers=cores())


def _size(clip: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(clip)) as image:
        return image.size
