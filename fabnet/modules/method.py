"""What every pretext method offers to training, embedding and figures.

A module of fabnet/pretext holds a frozen dataclass `Params` and `build(params, *, size_px) -> Method`. Optional:

- `Params.size_px`, `Params.batch`: its own input side or batch size, instead of those that all methods share.
- `Params.weights` and `Params.weights_sha256`: a weight file that the user supplies; then the module also holds
  `supplied(params, file) -> Method`, which reads it from a binary file and raises ValueError with one clause.
- `CONTINUES = True`: it starts from the weights of another method, see `Method.start_from`; listed in `refined`.
- `problem(params) -> str | None`: what is wrong with values that are right by themselves, in one clause.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn


class Method(nn.Module, ABC):
    """A network with an `encoder` (B, 3, S, S) in [0, 1] -> (B, D) or (B, D, 1, 1) and a loss on frames of a track."""

    encoder: nn.Module
    frames: int  # frames of one track in a sample, target first; 0 means that there is nothing to train
    smallest_batch = 1  # samples that a step of training needs
    is_solved = False  # True: one epoch of samples determines the weights, see `solve`

    @abstractmethod
    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """Frames (B, F, 3, S, S) in [0, 1] -> scalars by name; `loss` is minimised, the others are recorded."""

    def observe(self, val_loss: float) -> bool:
        """Told the validation loss after every epoch; True while the learning rate should wait, see `Curriculum`."""
        del val_loss
        return False

    def solve(self, batches: Iterable[Tensor]) -> None:
        """Set the weights from batches (B, F, 3, S, S) in closed form; for methods that are `is_solved`."""
        raise NotImplementedError

    def start_from(self, start: "Method") -> None:
        """Take over the weights of a trained method; for methods that continue another one.

        Raises:
            ValueError: that method's weights do not fit.
        """
        raise NotImplementedError


class Fixed(Method):
    """An encoder that is used as it is: nothing to train."""

    frames = 0

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """Nothing to minimise: a constant zero."""
        return {"loss": frames.new_zeros(())}
