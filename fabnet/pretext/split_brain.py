"""Split-brain autoencoder: lightness from colour and colour from lightness (Zhang, Isola and Efros, CVPR 2017).

A frame is split into L and ab of CIE L*a*b*. Two networks of half the width see one of the two and predict
the other; the embedding is the concatenation of theirs.
Objective: the sum of both networks' losses. `regression`: mean squared error. `classes`: cross-entropy over intervals
of L, and over squares of ab that are 10 wide as in the authors' colourisation, at a quarter of the input side.
Departures: FAb-Net's encoder and decoder, so predictions pass through one vector instead of a map of features. Squares
of ab without an sRGB colour are kept (they are never the target), and classes are neither smoothed nor rebalanced. The
supplement of Wiles et al. 2018 breaks off before it states which head, loss, scale and embedding were used.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fabnet.modules.decoder import Decoder
from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Method

L_CLASSES = 100  # intervals of 1
AB_CLASSES = 22  # intervals of 10 for a and as many for b, from -110 to 110
POOLED = 4  # input pixels along the side of a square with one class

# linear sRGB -> XYZ, rows X, Y, Z; their sums are the white point, so that greys have a = b = 0
TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolutions of both halves together
    embedding: int  # dimensions of both halves together
    target: Literal["regression", "classes"]


class Halves(nn.Module):
    """(B, 3, S, S) RGB in [0, 1] -> (B, embedding, 1, 1): first from L, then from ab."""

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        width, embedding = params.width // 2, params.embedding // 2
        self.lightness = Encoder(size_px=size_px, width=width, embedding=embedding, inputs=1)
        self.colour = Encoder(size_px=size_px, width=width, embedding=embedding, inputs=2)

    def forward(self, rgb: Tensor) -> Tensor:
        lightness, colour = split(rgb)
        return torch.cat([self.lightness(lightness), self.colour(colour)], dim=1)


class SplitBrain(Method):
    frames = 1

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        head = _Classes if params.target == "classes" else _Values
        self.halves = self.encoder = Halves(params, size_px=size_px)
        self.to_colour = head(params, size_px=size_px, channels=2)
        self.to_lightness = head(params, size_px=size_px, channels=1)

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and its two terms: `colour`, predicted from lightness, and `lightness`, predicted from colour."""
        lightness, colour = split(frames[:, 0])
        of_colour = self.to_colour(self.halves.lightness(lightness), colour)
        of_lightness = self.to_lightness(self.halves.colour(colour), lightness)
        return {"loss": of_colour + of_lightness, "colour": of_colour, "lightness": of_lightness}


class _Values(nn.Module):
    """Half an embedding (B, D, 1, 1), and scaled channels (B, C, S, S) to predict from it -> mean squared error."""

    def __init__(self, params: Params, *, size_px: int, channels: int) -> None:
        super().__init__()
        self.decoder = Decoder(size_px=size_px, width=params.width // 2, inputs=params.embedding // 2, outputs=channels)

    def forward(self, embedding: Tensor, target: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.decoder(embedding), target)


class _Classes(nn.Module):
    """The same for classes: mean cross-entropy. The decoder's tanh bounds the features, not the scores."""

    def __init__(self, params: Params, *, size_px: int, channels: int) -> None:
        super().__init__()
        width = params.width // 2
        self.decoder = Decoder(size_px=size_px, width=width, inputs=params.embedding // 2, outputs=width)
        self.scores = nn.Conv2d(width, L_CLASSES if channels == 1 else AB_CLASSES**2, 1)

    def forward(self, embedding: Tensor, target: Tensor) -> Tensor:
        scores = self.scores(nn.functional.avg_pool2d(self.decoder(embedding), POOLED))
        return nn.functional.cross_entropy(scores, classes(nn.functional.avg_pool2d(target, POOLED)))


def split(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) in [0, 1] -> lightness (B, 1, H, W) in [-1, 1] and colour (B, 2, H, W) within (-1, 1)."""
    lab = to_lab(rgb)
    return lab[:, :1] / 50 - 1, lab[:, 1:] / 110


def classes(scaled: Tensor) -> Tensor:
    """Lightness or colour as `split` scales them, (B, 1 or 2, H, W) -> the number of its class, (B, H, W)."""
    per_axis = L_CLASSES if scaled.shape[1] == 1 else AB_CLASSES
    bins = ((scaled + 1) / 2 * per_axis).long().clamp(0, per_axis - 1)
    return bins[:, 0] if scaled.shape[1] == 1 else bins[:, 0] * AB_CLASSES + bins[:, 1]


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return SplitBrain(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why the network cannot be cut into halves."""
    if params.width % 2 or params.embedding % 2:
        return f"width and embedding should be even, found {params.width} and {params.embedding}"
    return None


def to_lab(rgb: Tensor) -> Tensor:
    """SRGB (B, 3, H, W) in [0, 1] -> CIE L*a*b* (B, 3, H, W): L in [0, 100], a within (-87, 99), b within (-108, 95).

    White point D65 (IEC 61966-2-1 and CIE 15; the matrix is OpenCV's).
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear.unbind(dim=1)
    # shares of the white point, (B, H, W) in [0, 1]; by plain numbers: autocast would round a matrix product
    x, y, z = (_response((r * red + g * green + b * blue) / (r + g + b)) for r, g, b in TO_XYZ)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _response(xyz: Tensor) -> Tensor:
    """Cube root, replaced near zero by the tangent that CIE prescribes."""
    edge = 6 / 29
    return torch.where(xyz > edge**3, xyz.clamp(min=edge**3) ** (1 / 3), xyz / (3 * edge**2) + 4 / 29)
