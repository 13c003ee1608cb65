"""Methods that compare two views of a face, which are two frames of one track (as SimCLR, section 2.1)."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from fabnet.modules import ranks
from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Method


class Sizes(Protocol):
    """Settings that all these methods have."""

    @property
    def width(self) -> int:
        """Channels of the first convolution."""
        ...

    @property
    def embedding(self) -> int:
        """Dimensions of the embedding."""
        ...

    @property
    def projection(self) -> int:
        """Dimensions that the loss sees."""
        ...


class Projector(nn.Sequential):
    """(B, embedding) -> (B, outputs): linear, BN, ReLU, linear. Only the loss sees its outputs."""

    def __init__(self, *, embedding: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(embedding, embedding), ranks.BatchNorm1d(embedding), nn.ReLU(), nn.Linear(embedding, outputs)
        )


class TwoViews(Method):
    """Encoder, projector, and a criterion on the projections of the two views."""

    frames = 2
    smallest_batch = 2  # its losses compare samples

    def __init__(self, params: Sizes, criterion: Callable[..., Tensor], *, size_px: int) -> None:
        super().__init__()
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)
        self.projector = Projector(embedding=params.embedding, outputs=params.projection)
        self.criterion = criterion

    def projections(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, 2, 3, S, S) in [0, 1] -> projections (B, P) of all first and of all second ones; BN sees both.

        They are those of the whole batch, also where several processes share it.
        """
        first, second = self.projector(self.encoder(frames.transpose(0, 1).flatten(0, 1)).flatten(1)).chunk(2)
        return ranks.gathered(first), ranks.gathered(second)
