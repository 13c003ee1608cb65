"""Frame -> embedding (Wiles et al. 2018, supplement; layer order of the released code)."""

from itertools import pairwise

from torch import nn

from fabnet.modules.view_norm import ViewNorm2d, ViewSequential


def depth(size_px: int) -> int:
    """Number of halvings from `size_px` to 1.

    Raises:
        ValueError: `size_px` is not a power of two of at least 32.
    """
    if size_px < 32 or size_px & (size_px - 1):
        raise ValueError(f"input size should be a power of two of at least 32 px, found {size_px}")
    return size_px.bit_length() - 1


class Encoder(ViewSequential):
    """(B, inputs, size_px, size_px) -> (B, embedding, 1, 1), any real value; frames are RGB in [0, 1].

    Convolutions 4x4 of stride 2 down to 1x1, as many as the input size asks for: 8 at 256 px with channels
    32, 64, 128, then 256. Conv -> BN -> LeakyReLU; the first convolution has no BN and the last neither BN nor
    activation, as in the released code (the supplement's text orders the layers differently). Positions in
    the sequence equal those of the released `encoder.N` at 256 px. `views`: see `ViewNorm2d`.
    """

    def __init__(self, *, size_px: int, width: int, embedding: int, inputs: int = 3) -> None:
        halvings = depth(size_px)
        channels = [width, 2 * width, 4 * width] + [8 * width] * (halvings - 4) + [embedding]
        layers: list[nn.Module] = [nn.Conv2d(inputs, channels[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for inner, outer in pairwise(channels[:-1]):
            layers += [nn.Conv2d(inner, outer, 4, stride=2, padding=1), ViewNorm2d(outer), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(channels[-2], channels[-1], 4, stride=2, padding=1))
