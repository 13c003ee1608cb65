"""Pictures a second that one core brings from JPEG to the network, against the original's chain of PIL operations.

The original decodes the owner's frame of 224 px, scales, pads and cuts it, draws a square and scales again, for every
sample. `crop` has done the first three once and stored 190 px. Rates are of processor time, so that other work on the
machine disturbs them little.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks import original
from benchmarks.original import CENTRE_PX, JITTER_PX, PAD_LTRB_PX, SCALE_PX
from benchmarks.pictures import jpegs
from benchmarks.rows import Row, apart
from fabnet.images import scale_pad_centre
from fabnet.modules.crops import crop_and_resize, draw_squares
from fabnet.training import pairs
from stages.storage import media

BATCH, TURNS = 64, 3
ORIGINAL = "the original's PIL chain"


def compare(wanted: Namespace) -> Iterator[Row]:
    """Rows with and without the last resize on the CPU."""
    for size_px in wanted.sizes:
        original = apart(pictures_per_s, original_chain, size_px)
        for what, chain in (
            (f"JPEG to {size_px} px on the CPU, a core", whole_chain),
            (f"JPEG to cut pixels for a GPU, a core, against {size_px} px", cut_chain),
        ):
            ours = apart(pictures_per_s, chain, size_px)
            yield Row("loading", what, "pictures/s", ORIGINAL, ours[0], original[0], ours[1], original[1])


def pictures_per_s(chain: Callable[[list[bytes], int, np.random.Generator], Tensor], size_px: int) -> float:
    """The best of some turns over the same pictures."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pictures = jpegs()[: 4 * BATCH]
    if chain is not original_chain:
        pictures = [stored(picture) for picture in pictures]
    best = 0.0
    for turn in range(TURNS):
        rng = np.random.default_rng(turn)
        start = time.process_time()
        for at in range(0, len(pictures), BATCH):
            chain(pictures[at : at + BATCH], size_px, rng)
        best = max(best, len(pictures) / (time.process_time() - start))
    return best


def stored(picture: bytes) -> bytes:
    """What `crop` makes of a frame."""
    return media.encode_jpeg(scale_pad_centre(media.decode_image(picture), SCALE_PX, PAD_LTRB_PX, CENTRE_PX), 95)


def whole_chain(pictures: list[bytes], size_px: int, rng: np.random.Generator) -> Tensor:
    """(N, 3, size_px, size_px) in [0, 1]."""
    pixels, boxes = _cut(pictures, rng)
    return crop_and_resize(pixels, torch.from_numpy(boxes), size_px)


def cut_chain(pictures: list[bytes], size_px: int, rng: np.random.Generator) -> Tensor:
    """(N, H, W, 3) uint8: a GPU scales them."""
    return _cut(pictures, rng)[0]


def _cut(pictures: list[bytes], rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    images = [media.decode_image(picture) for picture in pictures]
    sizes = np.array([image.shape[1::-1] for image in images])
    boxes = draw_squares(sizes, np.tile(JITTER_PX, (len(images), 1)), rng)
    places = boxes.astype(int)
    pixels = pairs.stack([image[y0:y1, x0:x1] for image, (x0, y0, x1, y1) in zip(images, places, strict=True)])
    return pixels, boxes - np.tile(boxes[:, :2], 2)


def original_chain(pictures: list[bytes], size_px: int, rng: np.random.Generator) -> Tensor:
    """(N, 3, size_px, size_px) in [0, 1]."""
    return torch.stack([original.prepared(picture, size_px, rng) for picture in pictures])
