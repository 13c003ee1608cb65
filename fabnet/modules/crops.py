"""Square crops, random or central, and resizing, batched on the training device."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def draw_squares(
    sizes: NDArray[np.integer[Any]], jitter_px: NDArray[np.integer[Any]], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random squares that lie inside their images.

    Args:
        sizes: (N, 2) width and height of each image, px.
        jitter_px: (N, 2) smallest and largest side, px, both included (supplement: 170-190 and 180-200); an image
            that is smaller than the drawn side gets its own shorter side.
        rng: source of sides and positions.

    Returns:
        (N, 4) boxes x0, y0, x1, y1 in px, continuous edges; whole numbers.

    The original draws one side per epoch and a position per frame; here every frame has its own side.
    """
    side = np.minimum(rng.integers(jitter_px[:, 0], jitter_px[:, 1] + 1), sizes.min(axis=1))
    corner = rng.integers(0, sizes - side[:, None] + 1)
    return np.concatenate([corner, corner + side[:, None]], axis=1).astype(np.float32)


def central_squares(sizes: NDArray[np.integer[Any]], jitter_px: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """The square (N, 4) in the middle of each image, with the mean side of `draw_squares`; arguments as there."""
    side = np.minimum(jitter_px.sum(axis=1) // 2, sizes.min(axis=1))
    corner = (sizes - side[:, None]) // 2
    return np.concatenate([corner, corner + side[:, None]], axis=1).astype(np.float32)


def crop_and_resize(images: Tensor, boxes_xyxy_px: Tensor, size_px: int) -> Tensor:
    """Cut one box out of each image and scale it to `size_px`.

    Args:
        images: (N, H, W, 3) uint8; images smaller than (H, W) lie at the top left.
        boxes_xyxy_px: (N, 4) whole px; the first pixel spans 0 to 1.
        size_px: side of the result.

    Returns:
        (N, 3, size_px, size_px) float32 in [0, 1]: the same as `resize` of each crop.

    On a CPU it is `resize`, image by image; elsewhere all images at once.
    """
    if images.device.type != "cpu":
        return _crop_by_weights(images, boxes_xyxy_px, size_px)
    scaled = np.empty((len(images), size_px, size_px, 3), np.float32)  # in huge pages on Linux, unlike PyTorch's memory
    crops = torch.from_numpy(scaled).permute(0, 3, 1, 2)
    for crop, image, (x0, y0, x1, y1) in zip(crops, images, boxes_xyxy_px.int().tolist(), strict=True):
        crop[:] = resize(image[None, y0:y1, x0:x1], size_px)[0]
    return crops


def _crop_by_weights(images: Tensor, boxes_xyxy_px: Tensor, size_px: int) -> Tensor:
    """Scaling is separable, so it is two products with matrices of weights per image."""
    count, height, width = images.shape[:3]
    low, high = boxes_xyxy_px[:, :2], boxes_xyxy_px[:, 2:]
    across = _triangle_weights(low[:, 0], high[:, 0], width, size_px)  # (N, size_px, W)
    down = _triangle_weights(low[:, 1], high[:, 1], height, size_px)  # (N, size_px, H)
    rows = torch.bmm(down, images.reshape(count, height, width * 3).float())  # (N, size_px, W * 3)
    colours = rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)  # (N, 3, size_px, W)
    return colours @ (across / 255).transpose(1, 2)[:, None]


def _triangle_weights(low: Tensor, high: Tensor, length: int, size_px: int) -> Tensor:
    """Weights (N, size_px, length) of the pixels [low, high) of a line in each of `size_px` equal steps.

    A triangle of the width of two steps, or of two pixels where the line grows; rows add up to 1.
    """
    step = ((high - low) / size_px)[:, None, None]
    centre = low[:, None, None] + (torch.arange(size_px, device=low.device)[:, None] + 0.5) * step
    pixel = torch.arange(length, device=low.device) + 0.5
    weights = (1 - (pixel - centre).abs() / step.clamp_min(1)).clamp_min(0)
    inside = (pixel > low[:, None, None]) & (pixel < high[:, None, None])
    weights = weights * inside
    return weights / weights.sum(dim=2, keepdim=True)


def resize(images: Tensor, size_px: int) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, size_px, size_px) float32 in [0, 1].

    Bilinear, anti-aliased when shrinking, aspect not kept: as PIL does, with which the released probe heads were
    fitted.
    """
    pixels = images.permute(0, 3, 1, 2).float() / 255
    if pixels.shape[-2:] == (size_px, size_px):
        return pixels
    shrinks = max(pixels.shape[-2:]) > size_px  # growing, both filters are the same, and this one is faster
    return F.interpolate(pixels, (size_px, size_px), mode="bilinear", align_corners=False, antialias=shrinks)
