"""FAb-Net, single source frame, trained from easy to hard samples (Wiles et al. 2018, section 3.3).

Objective: mean L1 distance of the samples inside the curriculum's window; validation is over all samples, so the two
curves are not comparable.
Departures: those of `fabnet`, and the learning-rate rule named in `fabnet.curriculum`.
"""

from dataclasses import dataclass

from torch import Tensor

from fabnet.curriculum import WINDOWS, Curriculum
from fabnet.modules.losses import photometric
from fabnet.modules.method import Method
from fabnet.modules.model import FAbNet


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution; the original 32
    embedding: int  # dimensions of the embedding; the original 256
    patience: int  # epochs without a better validation loss before the window moves; the original 15
    batch: int  # samples per step; the original 32, four times as many as without the curriculum


class EasyToHard(Method):
    frames = 2

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.net = FAbNet(size_px=size_px, width=params.width, embedding=params.embedding, with_confidence=False)
        self.encoder = self.net.encoder
        self.curriculum = Curriculum(params.patience)

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss` of the window, and `copy` of the whole batch: the loss of not warping at all."""
        target, source = frames[:, 0], frames[:, 1]
        reconstruction = self.net(source[:, None], target)
        kept = self.curriculum(photometric(reconstruction, target))
        return {"loss": kept.mean(), "copy": photometric(source, target).mean()}

    def observe(self, val_loss: float) -> bool:
        """True until the window has reached its end: only then may the learning rate fall."""
        return self.curriculum.observe(val_loss)


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation, as the original."""
    return EasyToHard(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why batches of its size cannot be used: some window would be empty."""
    count = params.batch
    empty = next((f"{low:g} to {high:g}" for low, high in WINDOWS if int(low * count) >= int(high * count)), None)
    return empty and f"batch should be larger: none of {count} samples lies in the window {empty}"
