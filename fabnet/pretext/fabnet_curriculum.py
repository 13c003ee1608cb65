"""FAb-Net, single source frame, trained from easy to hard samples (Wiles et al. 2018, section 3.3).

Objective: mean L1 distance of the samples inside the curriculum's window. Validation is over all samples, so training
and validation loss are not comparable.
Departures: those of `fabnet`, and the learning-rate rule named in `Curriculum.observe`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fabnet.modules.method import Method
from fabnet.modules.model import FAbNet, single_source

WINDOWS = ((0.0, 0.5), (0.1, 0.6), (0.2, 0.7), (0.3, 0.8), (0.4, 0.9))  # shares of a batch, easiest first


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution; the original 32
    embedding: int  # dimensions of the embedding; the original 256
    patience: int  # epochs without a better validation loss before the window moves; the original 15
    batch: int  # samples per step; the original 32, four times as many as without the curriculum


def keep_quantiles(per_sample: Tensor, low: float, high: float) -> Tensor:
    """The losses (B,) between two shares of the batch, ascending: positions `int(low * B)` up to `int(high * B)`.

    Raises:
        ValueError: no sample lies between them.
    """
    count = len(per_sample)
    kept = per_sample.sort().values[int(low * count) : int(high * count)]
    if not len(kept):
        raise ValueError(f"no sample of a batch of {count} lies between the shares {low} and {high}")
    return kept


class Curriculum(nn.Module):
    """The window of samples that are trained on; it moves to harder ones when the validation loss stops falling.

    It starts with the easier half of every batch and ends without its easiest 40 % and hardest 10 %. All state is
    in buffers, so it is saved and restored with the weights; the original saved the window after its checkpoint, one
    epoch late.
    """

    window: Tensor  # index in WINDOWS
    best: Tensor  # lowest validation loss since the window moved
    stale: Tensor  # epochs since then

    def __init__(self, patience: int) -> None:
        """`patience`: epochs without a better validation loss before the window moves, 15 in the original."""
        super().__init__()
        self.patience = patience
        self.register_buffer("window", torch.zeros((), dtype=torch.long))
        self.register_buffer("best", torch.full((), torch.inf, dtype=torch.float64))
        self.register_buffer("stale", torch.zeros((), dtype=torch.long))

    def forward(self, per_sample: Tensor) -> Tensor:
        """Losses (B,) -> those of the window while training, all of them in evaluation mode."""
        return keep_quantiles(per_sample, *WINDOWS[int(self.window)]) if self.training else per_sample

    def observe(self, val_loss: float) -> bool:
        """Move the window if it is time to; False if it was at its end before.

        Departure: from then on the learning-rate schedule uses the validation loss of every epoch. In the original it
        did so only once in 16 stale epochs.
        """
        if int(self.window) == len(WINDOWS) - 1:
            return False
        if val_loss < float(self.best):
            self.best.fill_(val_loss)
            self.stale.zero_()
        else:
            self.stale += 1
        if int(self.stale) > self.patience:
            self.window += 1
            self.best.fill_(torch.inf)
            self.stale.zero_()
        return True


class EasyToHard(Method):
    frames = 2

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.net = FAbNet(size_px=size_px, width=params.width, embedding=params.embedding, with_confidence=False)
        self.encoder = self.net.encoder
        self.curriculum = Curriculum(params.patience)

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss` of the window, and `copy` of the whole batch: the loss without a warp."""
        per_sample, copy = single_source(self.net, frames)
        return {"loss": self.curriculum(per_sample).mean(), "copy": copy.mean()}

    def observe(self, val_loss: float) -> bool:
        """True until the window has reached its end: only then may the learning rate fall."""
        return self.curriculum.observe(val_loss)


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation, as the original."""
    return EasyToHard(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why its batch size cannot be used: a window would be empty."""
    count = params.batch
    empty = next((f"{low:g} to {high:g}" for low, high in WINDOWS if int(low * count) >= int(high * count)), None)
    return empty and f"batch should be larger: none of {count} samples lies in the window {empty}"
