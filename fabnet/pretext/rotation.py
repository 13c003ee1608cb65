"""RotNet: predict by how many quarter turns a frame was rotated (Gidaris, Singh and Komodakis, ICLR 2018).

Objective: cross-entropy of a linear classifier on the embedding, over all four rotations of every frame of the batch,
as the paper found best. So a step encodes four times as many images as the batch holds, and no rotation is drawn.
Departures: FAb-Net's encoder and optimiser instead of the paper's networks, as in the supplement of Wiles et al. 2018.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Method


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution; FAb-Net's 32
    embedding: int  # dimensions of the embedding; FAb-Net's 256


class Rotation(Method):
    frames = 1

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)
        self.classifier = nn.Linear(params.embedding, 4)

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `accuracy`: the share of images whose rotation is predicted, 0.25 by chance."""
        images, turns = all_turns(frames[:, 0])
        scores = self.classifier(self.encoder(images).flatten(1))
        accuracy = (scores.argmax(dim=1) == turns).float().mean()
        return {"loss": nn.functional.cross_entropy(scores, turns), "accuracy": accuracy}


def all_turns(images: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, S, S) -> (4 B, C, S, S), first all as they are, and the quarter turns (4 B,), counter-clockwise."""
    turned = [images.rot90(turns, dims=(2, 3)) for turns in range(4)]
    return torch.cat(turned), torch.arange(4, device=images.device).repeat_interleave(len(images))


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return Rotation(params, size_px=size_px)
