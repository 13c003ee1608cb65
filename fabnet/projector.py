"""What a loss on pairs of views sees instead of the embedding; thrown away after training (SimCLR, section 2.1)."""

from torch import nn


class Projector(nn.Sequential):
    """(B, embedding) -> (B, outputs): linear, BN, ReLU, linear."""

    def __init__(self, *, embedding: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(embedding, embedding), nn.BatchNorm1d(embedding), nn.ReLU(), nn.Linear(embedding, outputs)
        )
