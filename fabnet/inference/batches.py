"""Pictures of faces as users hold them -> batches as networks take them.

Pictures are RGB and of any size. They come as

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

Picture = NDArray[Any] | Tensor
Pictures = Picture | Sequence[Picture]


def batches(pictures: Pictures, size_px: int, batch: int) -> Iterator[Tensor]:
    """Pictures as the network takes them, (B, 3, size_px, size_px) float32 in [0, 1], B up to `batch`.

    Raises:
        ValueError: none of the forms named above.
    """
    if batch < 1:
        raise ValueError(f"batch should be at least 1, found {batch}")
    for start in range(0, len(pictures), batch):
        some = pictures[start : start + batch]
        if isinstance(some, Tensor | np.ndarray):
            yield crops.resize(_pixels(some), size_px)
        else:
            yield torch.cat([crops.resize(_pixels(_one(picture)), size_px) for picture in some])


def sizes_px(pictures: Pictures) -> NDArray[np.float64]:
    """(N, 2) width and height of each picture."""
    if isinstance(pictures, Tensor | np.ndarray):
        return np.tile(sizes_px(list(pictures[:1])), (len(pictures), 1))
    shapes = [_pixels(_one(picture)).shape for picture in pictures]
    return np.array([(width, height) for _, height, width, _ in shapes], np.float64).reshape(-1, 2)


def _one(picture: Any) -> Picture:
    """One of a list, as an array of one."""
    if not isinstance(picture, Tensor | np.ndarray):
        raise ValueError(f"pictures should be arrays or tensors, found {type(picture).__name__}: take np.asarray of it")
    return picture[None]


def _pixels(pictures: Picture) -> Tensor:
    """(N, H, W, 3), uint8 or floats up to 255."""
    found = torch.as_tensor(
        np.require(pictures, requirements=["C", "W"]) if isinstance(pictures, np.ndarray) else pictures
    )
    is_float = found.is_floating_point()
    if is_float and found.ndim == 4 and found.shape[1] == 3 and 0 not in found.shape[2:]:
        if not bool(((found >= 0) & (found <= 1)).all()):
            raise ValueError("pictures of floating-point numbers should lie in [0, 1]: divide them by 255")
        return found.float().movedim(1, 3) * 255
    if found.dtype == torch.uint8 and found.ndim == 4 and found.shape[3] == 3 and 0 not in found.shape[1:3]:
        return found
    raise ValueError(
        "pictures should be uint8 (N, H, W, 3), a list of uint8 (H, W, 3), or floating-point (N, 3, H, W) in [0, 1]: "
        f"found {str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}"
    )
