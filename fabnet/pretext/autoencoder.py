"""Autoencoder: rebuild a frame from its own embedding (baseline of Wiles et al. 2018, supplement).

Objective: mean L1 distance between the rebuilt frame and the frame.
Departures: the supplement names no loss, L1 is FAb-Net's. Nor does it say how the decoder's output in (-1, 1) becomes
an image: here it is mapped linearly to (0, 1), so every colour but pure black and white is possible.
"""

from dataclasses import dataclass

from torch import Tensor

from fabnet.modules import ranks
from fabnet.modules.decoder import Decoder
from fabnet.modules.encoder import Encoder
from fabnet.modules.losses import photometric
from fabnet.modules.method import Method


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution, and of the decoder's last but one; the original 32
    embedding: int  # dimensions of the embedding; the original 256


class Autoencoder(Method):
    frames = 1

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)
        self.decoder = Decoder(size_px=size_px, width=params.width, inputs=params.embedding, outputs=3)

    def rebuild(self, frames: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> the frames rebuilt from their embedding, (B, 3, S, S) in (0, 1)."""
        return (self.decoder(self.encoder(frames)) + 1) / 2

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `mean_image`: the loss when every frame is rebuilt as the mean of the batch."""
        target = frames[:, 0]
        mean = ranks.averaged(target.mean(dim=0, keepdim=True))
        return {
            "loss": photometric(self.rebuild(target), target).mean(),
            "mean_image": photometric(mean, target).mean(),
        }


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return Autoencoder(params, size_px=size_px)
