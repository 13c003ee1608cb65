"""Embeddings -> maps at the input size: sampler flow, confidence or colours, by one shared trunk design."""

from itertools import pairwise

from torch import nn

from fabnet.modules.encoder import depth
from fabnet.modules.view_norm import ViewNorm2d, ViewSequential


class Decoder(ViewSequential):
    """(B, inputs, 1, 1) -> (B, outputs, size_px, size_px) in (-1, 1).

    [ReLU, bilinear x2, conv 3x3, BN] from 1x1 up to the input size, the last convolution without BN and
    followed by tanh (Wiles et al. 2018, supplement; order of the released code, whose positions in `decoder.N`
    and `mask.N` are kept at 256 px). No skip connections. Upsampling uses `align_corners=False`; which one the
    original's pre-release PyTorch used is not known, and only its reconstructions would depend on it.
    `views`: see `ViewNorm2d`. `slope`: of the very first activation below zero; the original 0, a ReLU, through which
    dimensions of the embedding that are never positive get no gradient.
    """

    def __init__(self, *, size_px: int, width: int, inputs: int, outputs: int, slope: float = 0.0) -> None:
        halvings = depth(size_px)
        channels = [inputs] + [8 * width] * (halvings - 4) + [4 * width, 2 * width, width]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(channels):
            layers += [*upsampled(inner, outer), ViewNorm2d(outer)]
        layers[0] = nn.LeakyReLU(slope) if slope else layers[0]
        super().__init__(*layers, *upsampled(channels[-1], outputs), nn.Tanh())


def upsampled(inner: int, outer: int) -> list[nn.Module]:
    """Layers (B, inner, S, S) -> (B, outer, 2 S, 2 S), with a ReLU before."""
    return [
        nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(inner, outer, 3, padding=1),
    ]
