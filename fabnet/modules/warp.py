"""Flow -> sampling grid -> warped frame."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def identity_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width, 2) grid of (x, y) in [-1, 1] on pixel centres of the corners: samples every pixel itself."""
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y], dim=-1)


def warp(source: Tensor, flow: Tensor) -> Tensor:
    """`source` (B, C, H, W) sampled bilinearly where `flow` (B, 2, H, W) points; zero flow returns the source.

    Flow is an (x, y) offset in normalised units: 2 spans the frame. Sampling positions are clamped to the frame,
    so the gradient is zero where they left it and padding is never read. Corners are aligned, as in the
    PyTorch of the original, because the identity grid runs from -1 to 1 through the corner pixels' centres.
    """
    grid = flow.permute(0, 2, 3, 1) + identity_grid(*flow.shape[-2:], like=source)  # a float16 grid is 0.06 px coarse
    return F.grid_sample(source, grid.clamp(-1, 1), mode="bilinear", padding_mode="zeros", align_corners=True)
