"""Control: the same encoder, untrained. Whatever it reaches needs no pre-training.

Objective: none; its BN layers keep their initial statistics.
"""

from dataclasses import dataclass

from torch import Tensor

from fabnet.encoder import Encoder
from fabnet.method import Method


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution
    embedding: int  # dimensions of the embedding


class Untrained(Method):
    frames = 0

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """Nothing to minimise: a constant zero."""
        return {"loss": frames.new_zeros(())}


def build(params: Params, *, size_px: int) -> Method:
    """An encoder with PyTorch's default initialisation."""
    return Untrained(params, size_px=size_px)
