"""Face images in the forms that users have -> batches as networks take them.

Images are RGB and of any size. They come as

- one uint8 array or tensor (N, H, W, 3), or a list of uint8 arrays (H, W, 3) of different sizes;
- one floating-point array or tensor (N, 3, H, W) in [0, 1], or a list of such (3, H, W).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.modules import crops

Image = NDArray[Any] | Tensor
Images = Image | Sequence[Image]


def batches(images: Images, size_px: int, batch: int) -> Iterator[Tensor]:
    """Images as the network takes them, (B, 3, size_px, size_px) float32 in [0, 1], B up to `batch`.

    Raises:
        ValueError: none of the forms named above.
    """
    if batch < 1:
        raise ValueError(f"batch should be at least 1, found {batch}")
    for start in range(0, len(images), batch):
        chunk = images[start : start + batch]
        if isinstance(chunk, Tensor | np.ndarray):
            yield crops.resize(_pixels(chunk), size_px)
        else:
            yield torch.cat([crops.resize(_pixels(_single(image)), size_px) for image in chunk])


def sizes_px(images: Images) -> NDArray[np.float64]:
    """(N, 2) width and height of each image."""
    if isinstance(images, Tensor | np.ndarray):
        return np.tile(sizes_px(list(images[:1])), (len(images), 1))
    shapes = [_pixels(_single(image)).shape for image in images]
    return np.array([(width, height) for _, height, width, _ in shapes], np.float64).reshape(-1, 2)


def _single(image: Any) -> Image:
    """An image of a list as an array of one."""
    if not isinstance(image, Tensor | np.ndarray):
        raise ValueError(f"images should be arrays or tensors, found {type(image).__name__}: convert with np.asarray")
    return image[None]


def _pixels(images: Image) -> Tensor:
    """(N, H, W, 3), uint8 or floats up to 255."""
    values = torch.as_tensor(np.require(images, requirements=["C", "W"]) if isinstance(images, np.ndarray) else images)
    is_float = values.is_floating_point()
    if is_float and values.ndim == 4 and values.shape[1] == 3 and 0 not in values.shape[2:]:
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError("images of floating-point numbers should lie in [0, 1]: divide them by 255")
        return values.float().movedim(1, 3) * 255
    if values.dtype == torch.uint8 and values.ndim == 4 and values.shape[3] == 3 and 0 not in values.shape[1:3]:
        return values
    raise ValueError(
        "images should be uint8 (N, H, W, 3), a list of uint8 (H, W, 3), or floating-point (N, 3, H, W) in [0, 1]: "
        f"found {str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"
    )
