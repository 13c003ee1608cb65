"""Smooth random pictures in place of frames, and batches of them as the stage `pretrain` makes them."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import util
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.rows import cores
from fabnet.modules.frame_choice import Choice
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


@dataclass(frozen=True)
class Decoder:
    """How frames are decoded, arguments of `pairs.batches`: `decode` takes a batch at once."""

    name: str
    load: Callable[[int], Any]
    decode: Callable[[list[Any]], list[Tensor]] | None = None


def decoders(clips: list[bytes], device: torch.device) -> list[Decoder]:
    """Those that are installed; the last but for Pillow decodes on the GPU."""
    found = [Decoder("Pillow", lambda row: _by_pillow(clips[row]))]
    if util.find_spec("cv2"):
        found.append(Decoder("OpenCV", lambda row: _by_opencv(clips[row])))
    if util.find_spec("torchvision") and device.type == "cuda":
        found.append(Decoder("torchvision on the GPU", lambda row: clips[row], lambda batch: _on_gpu(batch, device)))
    return found


def _by_pillow(clip: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(clip)) as image:
        return np.asarray(image)


def _by_opencv(clip: bytes) -> NDArray[np.uint8]:
    import cv2  # noqa: PLC0415  need not be there

    return cv2.imdecode(np.frombuffer(clip, np.uint8), cv2.IMREAD_COLOR_RGB)


def _on_gpu(clips: list[bytes], device: torch.device) -> list[Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg  # noqa: PLC0415  need not be there

    files = [torch.frombuffer(bytearray(clip), dtype=torch.uint8) for clip in clips]
    return [image.permute(1, 2, 0) for image in decode_jpeg(files, ImageReadMode.RGB, device)]


def batches(clips: list[bytes], decoder: Decoder, batch: int, size_px: int, device: torch.device) -> Iterator[Tensor]:
    """Endless batches (batch, 2, 3, S, S) of pairs of `jpegs()`, drawn, decoded, cropped and scaled as in training."""
    identities = np.arange(IDENTITIES)
    tracks = pairs.Tracks.of(identities, identities, FRAMES * identities, np.full(IDENTITIES, FRAMES))
    sizes = np.tile(_size(clips[0]), (len(clips), 1))
    jitter_px = np.tile(JITTER_PX, (len(clips), 1))
    rng = np.random.default_rng(0)
    while True:
        drawn = pairs.draw(tracks, sizes, jitter_px, choice=Choice(2), draws_per_identity=32 * batch, rng=rng)
        yield from pairs.batches(
            drawn, decoder.load, decode=decoder.decode, batch=batch, size_px=size_px, device=device, workers=cores()
        )


def _size(clip: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(clip)) as image:
        return image.size
