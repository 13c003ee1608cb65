"""Control: the same encoder, untrained. What it achieves needs no pre-training.

Objective: none; its BN layers keep their initial statistics.
"""

from dataclasses import dataclass

from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Fixed, Method


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution
    embedding: int  # dimensions of the embedding


def build(params: Params, *, size_px: int) -> Method:
    """An encoder with PyTorch's default initialisation."""
    return Fixed(Encoder(size_px=size_px, width=params.width, embedding=params.embedding))
