"""FAb-Net, single source frame: warp one frame of a track into another (Wiles et al. 2018).

Objective: mean L1 distance between the warped source frame and the target frame.
Departures: input below 256 px drops encoder and decoder layers; the confidence decoder, which gets no gradient
from a single source, is not built.
"""

from dataclasses import dataclass

from torch import Tensor

from fabnet.modules import frame_choice
from fabnet.modules.method import Method
from fabnet.modules.model import FAbNet, single_source


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution; the original 32
    embedding: int  # dimensions of the embedding; the original 256
    gap: int = 1  # least frames from source to target, as they are stored; the original 1, which is any two
    slope: float = 0.0  # of the sampler's first activation below zero; the original 0


class SingleSource(Method):
    frames = 2

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.net = FAbNet(
            size_px=size_px,
            width=params.width,
            embedding=params.embedding,
            with_confidence=False,
            slope=params.slope,
        )
        self.encoder = self.net.encoder
        self.gap = params.gap

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `copy`: the loss without a warp."""
        per_sample, copy = single_source(self.net, frames)
        return {"loss": per_sample.mean(), "copy": copy.mean()}


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation, as the original."""
    return SingleSource(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why the gap cannot be kept, or the slope not be used."""
    if not 0 <= params.slope < 1:
        return f"slope should be at least 0 and below 1, found {params.slope:g}"
    return frame_choice.problem(params.gap)
