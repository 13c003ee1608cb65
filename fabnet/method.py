"""What every pretext method offers to training and embedding.

A module of fabnet/pretext holds a frozen dataclass `Params`, with `width` and `embedding` of the encoder among its
fields, and `build(params, *, size_px) -> Method`.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Method(nn.Module, ABC):
    """A network with an `encoder` (B, 3, S, S) in [0, 1] -> (B, D, 1, 1) and a loss on frames of one track."""

    encoder: nn.Module
    frames: int  # frames of one track in a sample, target first; 0 means that there is nothing to train

    @abstractmethod
    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """Frames (B, F, 3, S, S) in [0, 1] -> scalars by name; `loss` is minimised, the others are recorded."""
