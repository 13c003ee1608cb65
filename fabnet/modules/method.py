"""Interface of a pretext method for training, embedding and figures.

A module of fabnet/pretext holds a frozen dataclass `Params` and `build(params, *, size_px) -> Method`. Optional:

- `Params.size_px`, `Params.batch`: its own input side or batch size instead of the shared ones.
- `Params.weights` and `Params.weights_sha256`: a weight file that the user supplies; then the module also holds
  `supplied(params, file) -> Method`, which reads it from a binary file or raises ValueError with one clause.
- `start_from(method, trained)`: copies weights of another, trained method and raises ValueError with one clause if they
  do not fit; such a method is trained by the stage `refine`.
- `problem(params) -> str | None`: what is wrong with the settings although each has the right type, in one clause.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from fabnet.modules.frame_choice import Choice, FramesBy

Batch = Tensor | tuple[Tensor, Tensor]  # what `losses` takes: frames, or frames and identities


@dataclass(frozen=True)
class OwnHead:
    """A probe head that came with the weights of a method, and the task that its owners fitted it to."""

    dataset: str
    task: str
    state: Mapping[str, Tensor]  # in the layout of `fabnet.probe_head.layers`


class Method(nn.Module, ABC):
    """A network with an `encoder` (B, 3, S, S) in [0, 1] -> (B, D) or (B, D, 1, 1) and a loss on frames of a track."""

    encoder: nn.Module
    frames: int  # frames of one track in a sample, target first; 0: nothing to train
    frames_by: FramesBy = "random"  # how they are chosen from the track, see `Choice`
    gap: int = 1  # between them, in frames as they are stored; most often that of `Params`
    parts: Mapping[str, tuple[int, int]] = MappingProxyType({})  # start and end of the named parts of the embedding
    wants_identities = False  # True: `losses` also gets numbers (B,) int64 that tell the samples' identities apart
    smallest_batch = 1  # samples that a training step needs
    is_solved = False  # True: one epoch of samples determines the weights, see `solve`

    @abstractmethod
    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """Frames (B, F, 3, S, S) in [0, 1] -> scalars by name; `loss` is minimised, the others are recorded.

        A method that `wants_identities` takes `losses(frames, identities)`; the numbers of another split are others.
        """

    @property
    def choice(self) -> Choice:
        """How the frames of a sample are chosen."""
        return Choice(self.frames, self.frames_by, self.gap)

    def observe(self, val_loss: float) -> bool:
        """Called with the validation loss after each epoch; True holds the learning-rate schedule."""
        del val_loss
        return False

    def solve(self, batches: Iterable[Any]) -> None:
        """Set the weights from batches, as `losses` takes them, in closed form; for methods that are `is_solved`."""
        raise NotImplementedError

    def own_head(self) -> OwnHead | None:
        """The head that came with the weights; None without one. It is never used in place of heads fitted here."""
        return None


class Fixed(Method):
    """An encoder that is used without training."""

    frames = 0

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """Nothing to minimise: a constant zero."""
        return {"loss": frames.new_zeros(())}
