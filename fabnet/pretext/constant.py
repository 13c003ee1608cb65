"""Control: the same embedding for every image, so that its probes predict the mean or the shares of the classes.

Objective: none. A method that is not better has learnt nothing from the image.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from fabnet.modules.method import Fixed, Method


@dataclass(frozen=True)
class Params:
    embedding: int  # dimensions of the embedding


class Constant(nn.Module):
    """(B, 3, S, S) -> zeros (B, embedding)."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, frames: Tensor) -> Tensor:
        return frames.new_zeros(len(frames), self.embedding)


def build(params: Params, *, size_px: int) -> Method:
    """The control, which has no weights."""
    del size_px
    return Fixed(Constant(params.embedding))
