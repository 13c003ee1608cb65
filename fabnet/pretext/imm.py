"""IMM: rebuild a frame from its key points and the looks of another (Jakab, Gupta, Bilen and Vedaldi, NeurIPS 2018).

One network finds K key points in the target frame: the expected place under each of K heat maps. A Gaussian is drawn
at each point, so nothing but the points of the target reaches the decoder. Another network sees the source frame and
supplies a map of appearance.
Objective: mean L1 distance between the rebuilt target and the target.
Embedding: the points' coordinates, x and y in turn, within [-1, 1] (part `points`), and the mean of the map of
appearance (part `appearance`), both of the same frame.
Departures: L1 instead of the perceptual loss, which needs a network trained on labelled images. Convolutions of stride
2 down to 16 x 16, then three of stride 1, instead of the paper's; sources are other frames of the track, as in the
paper's experiments on videos.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from fabnet.modules.decoder import upsampled
from fabnet.modules.encoder import depth
from fabnet.modules.losses import photometric
from fabnet.modules.method import Method
from fabnet.modules.view_norm import ViewNorm2d
from fabnet.modules.warp import identity_grid

SIDE = 16  # of heat maps, drawn points and the map of appearance


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolutions, and of the decoder's last but one
    embedding: int  # dimensions of the part `appearance`; the points add two each
    points: int  # key points; the paper 10, 30 and 50
    spread: float  # standard deviation of a drawn point, where the frame is 2 wide; the paper 0.1


class Bottleneck(nn.Module):
    """(B, 3, S, S) in [0, 1] -> (B, 2 K + embedding): the key points and the mean appearance of each frame."""

    grid: Tensor

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.spread = params.spread
        self.geometry = _maps(size_px, params.width, params.points)
        self.appearance = _maps(size_px, params.width, params.embedding)
        self.register_buffer("grid", identity_grid(SIDE, SIDE, torch.zeros(())).flatten(0, 1), persistent=False)

    def find(self, frames: Tensor) -> Tensor:
        """(B, 3, S, S) -> key points (B, K, 2), x and y in [-1, 1], through the centres of the corner cells."""
        heat = self.geometry(frames).flatten(2).softmax(dim=2)  # (B, K, SIDE * SIDE)
        return heat @ self.grid.to(heat.dtype)

    def draw(self, points: Tensor) -> Tensor:
        """(B, K, 2) -> Gaussians (B, K, SIDE, SIDE), 1 at the point."""
        distance = (points[:, :, None] - self.grid).square().sum(dim=3)  # (B, K, SIDE * SIDE), squared
        return (-distance / (2 * self.spread**2)).exp().unflatten(2, (SIDE, SIDE))

    def forward(self, frames: Tensor) -> Tensor:
        return torch.cat([self.find(frames).flatten(1), self.appearance(frames).mean(dim=(2, 3))], dim=1)


class IMM(Method):
    frames = 2

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.bottleneck = self.encoder = Bottleneck(params, size_px=size_px)
        self.decoder = _image(size_px, params.width, params.points + params.embedding)
        edge = 2 * params.points
        self.parts = {"points": (0, edge), "appearance": (edge, edge + params.embedding)}

    def rebuild(self, points: Tensor, source: Tensor) -> Tensor:
        """Points (B, K, 2) of the target and the source frame (B, 3, S, S) -> the target (B, 3, S, S) in (0, 1)."""
        maps = torch.cat([self.bottleneck.draw(points), self.bottleneck.appearance(source)], dim=1)
        return (self.decoder(maps) + 1) / 2

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `copy`: the loss of the source frame as it is."""
        target, source = frames[:, 0], frames[:, 1]
        rebuilt = self.rebuild(self.bottleneck.find(target), source)
        return {"loss": photometric(rebuilt, target).mean(), "copy": photometric(source, target).mean()}


def _widths(size_px: int, width: int) -> list[int]:
    """Channels of each halving of `size_px` down to SIDE."""
    return [width * 2 ** min(level, 3) for level in range(depth(size_px) - 4)]


def _maps(size_px: int, width: int, outputs: int) -> nn.Sequential:
    """(B, 3, size_px, size_px) -> (B, outputs, SIDE, SIDE)."""
    channels = _widths(size_px, width)
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for inner, outer in pairwise(channels):
        layers += [nn.Conv2d(inner, outer, 4, stride=2, padding=1), ViewNorm2d(outer), nn.LeakyReLU(0.2)]
    for _ in range(3):
        layers += [nn.Conv2d(channels[-1], channels[-1], 3, padding=1), ViewNorm2d(channels[-1]), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], outputs, 1))


def _image(size_px: int, width: int, inputs: int) -> nn.Sequential:
    """(B, inputs, SIDE, SIDE) -> (B, 3, size_px, size_px) in (-1, 1)."""
    channels = _widths(size_px, width)[::-1]
    layers: list[nn.Module] = [nn.Conv2d(inputs, channels[0], 3, padding=1), ViewNorm2d(channels[0])]
    for inner, outer in pairwise(channels):
        layers += [*upsampled(inner, outer), ViewNorm2d(outer)]
    return nn.Sequential(*layers, *upsampled(channels[-1], 3), nn.Tanh())


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return IMM(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why no points can be found or drawn."""
    if params.points < 1:
        return f"points should be at least 1, found {params.points}"
    return None if params.spread > 0 else f"spread should be above 0, found {params.spread:g}"
