"""Random square crops and resizing, batched on the training device."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def draw_squares(
    sizes: NDArray[np.int64], jitter_px: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random squares that lie inside their images.

    Args:
        sizes: (N, 2) width and height of each image, px.
        jitter_px: (N, 2) smallest and largest side, px, both included (supplement: 170-190 and 180-200).
        rng: source of sides and positions.

    Returns:
        (N, 4) boxes x0, y0, x1, y1 in px, continuous edges; whole numbers.

    The original draws one side per epoch and a position per frame; here every frame has its own side.
    """
    side = np.minimum(rng.integers(jitter_px[:, 0], jitter_px[:, 1] + 1), sizes.min(axis=1))
    corner = rng.integers(0, sizes - side[:, None] + 1)
    return np.concatenate([corner, corner + side[:, None]], axis=1).astype(np.float32)


def crop_and_resize(images: Tensor, boxes_xyxy_px: Tensor, size_px: int) -> Tensor:
    """Cut one box out of each image and scale it to `size_px`, all in one operation.

    Args:
        images: (N, H, W, 3) uint8; images smaller than (H, W) lie at the top left.
        boxes_xyxy_px: (N, 4) continuous edges: the first pixel spans 0 to 1.
        size_px: side of the result.

    Returns:
        (N, 3, size_px, size_px) float32 in [0, 1]. When shrinking, several bilinear samples are averaged per
        pixel, so that no source pixel is skipped.
    """
    height, width = images.shape[1:3]
    side = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).max().item()
    taps = max(1, math.ceil(side / (2 * size_px)))
    steps = (torch.arange(size_px * taps, device=images.device) + 0.5) / (size_px * taps)  # (T,), in (0, 1)
    low, extent = boxes_xyxy_px[:, :2], boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    x = (low[:, :1] + extent[:, :1] * steps) * (2 / width) - 1  # (N, T), normalised, corners not aligned
    y = (low[:, 1:] + extent[:, 1:] * steps) * (2 / height) - 1
    grid = torch.stack([x[:, None, :].expand(-1, len(steps), -1), y[:, :, None].expand(-1, -1, len(steps))], dim=-1)
    pixels = images.permute(0, 3, 1, 2).float() / 255
    sampled = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, taps) if taps > 1 else sampled


def resize(images: Tensor, size_px: int) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, size_px, size_px) float32 in [0, 1].

    Bilinear, anti-aliased when shrinking, aspect not kept: what PIL does, with which the released probe heads
    were fitted.
    """
    pixels = images.permute(0, 3, 1, 2).float() / 255
    if pixels.shape[-2:] == (size_px, size_px):
        return pixels
    return F.interpolate(pixels, (size_px, size_px), mode="bilinear", align_corners=False, antialias=True)
