"""FAb-Net, single source frame, trained from easy to hard samples (Wiles et al. 2018, section 3.3).

Objective: mean L1 distance of the samples inside the curriculum's window. Validation is over all samples, so training
and validation loss are not comparable.
Departures: those of `fabnet`, and the learning-rate rule unless `pretrain.schedule` is `original`.
"""

from dataclasses import dataclass
from itertools import accumulate, repeat

import torch
from torch import Tensor, nn

from fabnet.modules import ranks
from fabnet.modules.method import Method
from fabnet.modules.model import FAbNet, single_source

WINDOWS = 5  # each holds about half of a batch: the first the easiest samples, each next one a tenth harder ones
SMALLEST_BATCH = 2  # with which no window is empty
# shares of a batch at which windows begin and end; the code adds 0.1 again and again, so the fourth ends below 0.8
BEGINS, ENDS = (tuple(accumulate(repeat(0.1, WINDOWS - 1), initial=first)) for first in (0.0, 0.5))


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution; the original 32
    embedding: int  # dimensions of the embedding; the original 256
    patience: int  # epochs without a better validation loss before the window moves; the original 15
    batch: int  # samples per step; the original 32, four times as many as without the curriculum


def borders(window: int, count: int) -> tuple[int, int]:
    """Of a batch of `count` samples, easiest first: the place of a window's first sample and that after its last."""
    return int(BEGINS[window] * count), int(ENDS[window] * count)


def mean_of_window(per_sample: Tensor, window: Tensor) -> Tensor:
    """Mean of the losses (B,) in a window (); the number of the window stays on the device, so nothing waits for it.

    Raises:
        ValueError: the batch is so small that a window may be empty.
    """
    count = len(per_sample)
    if count < SMALLEST_BATCH:
        raise ValueError(f"the curriculum needs a batch of at least {SMALLEST_BATCH} samples, found {count}")
    place = torch.arange(count, device=per_sample.device)
    is_inside = torch.zeros_like(place, dtype=torch.bool)
    for number in range(WINDOWS):
        first, end = borders(number, count)
        is_inside |= (window == number) & (place >= first) & (place < end)
    return torch.where(is_inside, per_sample.sort().values, 0).sum() / is_inside.sum()


class Curriculum(nn.Module):
    """The window of samples that are trained on; it moves to harder ones when the validation loss stops falling.

    It starts with the easier half of every batch and ends without its easiest 40 % and hardest 10 %. All state is
    in buffers, so it is saved and restored with the weights; the original saved the window after its checkpoint, one
    epoch late.
    """

    window: Tensor  # below WINDOWS
    best: Tensor  # lowest validation loss since the window moved
    stale: Tensor  # epochs since then

    def __init__(self, patience: int) -> None:
        """`patience`: epochs without a better validation loss before the window moves, 15 in the original."""
        super().__init__()
        self.patience = patience
        self.register_buffer("window", torch.zeros((), dtype=torch.long))
        self.register_buffer("best", torch.full((), torch.inf))  # float32: MPS has no float64
        self.register_buffer("stale", torch.zeros((), dtype=torch.long))

    def forward(self, per_sample: Tensor) -> Tensor:
        """Losses (B,) -> their mean: in the window while training, of all of them in evaluation mode."""
        return mean_of_window(per_sample, self.window) if self.training else per_sample.mean()

    def observe(self, val_loss: float) -> bool:
        """Move the window if it is time to; False if it was at its end before, so that the learning rate may fall."""
        if int(self.window) == WINDOWS - 1:
            return False
        loss = torch.tensor(val_loss, dtype=self.best.dtype)
        if loss < self.best.cpu():
            self.best.copy_(loss)
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
        return {"loss": self.curriculum(ranks.gathered(per_sample)), "copy": copy.mean()}

    def observe(self, val_loss: float) -> bool:
        """True until the window has reached its end: only then may the learning rate fall."""
        return self.curriculum.observe(val_loss)


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation, as the original."""
    return EasyToHard(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why its batch size cannot be used."""
    if params.batch < SMALLEST_BATCH:
        return f"batch should be at least {SMALLEST_BATCH}, since half of it is trained on, found {params.batch}"
    return None
