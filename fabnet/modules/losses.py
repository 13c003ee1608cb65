"""Losses per sample, so that a curriculum can choose among the samples of a batch."""

from torch import Tensor


def photometric(reconstruction: Tensor, target: Tensor) -> Tensor:
    """L1 distance (B,) of two (B, C, H, W) batches: mean over channels and pixels (Wiles et al. 2018, section 3)."""
    return (reconstruction - target).abs().flatten(1).mean(dim=1)
