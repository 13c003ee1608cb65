"""What a loss on pairs of views sees instead of the embedding; thrown away after training (SimCLR, section 2.1)."""

from torch import Tensor, nn

from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Method


class Projector(nn.Sequential):
    """(B, embedding) -> (B, outputs): linear, BN, ReLU, linear."""

    def __init__(self, *, embedding: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(embedding, embedding), nn.BatchNorm1d(embedding), nn.ReLU(), nn.Linear(embedding, outputs)
        )


class TwoViews(Method):
    """A method whose two views of a face are two frames of one track."""

    frames = 2
    smallest_batch = 2  # its losses compare samples

    def __init__(self, *, size_px: int, width: int, embedding: int, projection: int) -> None:
        super().__init__()
        self.encoder = Encoder(size_px=size_px, width=width, embedding=embedding)
        self.projector = Projector(embedding=embedding, outputs=projection)

    def projections(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, 2, 3, S, S) in [0, 1] -> projections (B, P) of all first and of all second ones; BN sees both."""
        first, second = self.projector(self.encoder(frames.transpose(0, 1).flatten(0, 1)).flatten(1)).chunk(2)
        return first, second
