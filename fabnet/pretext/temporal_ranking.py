"""Temporal ranking: the later a frame, the farther its embedding is from that of the first one (Lu et al. 2020).

"Self-Supervised Learning for Facial Action Unit Recognition through Temporal Consistency", BMVC 2020.

Objective: the first of several frames in the order of time is the anchor. Each pair of neighbours after it makes a
triplet with it: the squared distance of its unit embedding to that of the earlier frame should be smaller by `margin`
than that to the later one. The loss of a sample is the sum over its triplets.
Departures: FAb-Net's encoder instead of a ResNet-18; a few frames at one random spacing, while the authors take twelve,
the second of them just after the anchor and the others at equal intervals; BN sees all frames of a batch at once, in
the authors' code the anchors, their neighbours and the later frames apart.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from fabnet.modules import frame_choice
from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Method

FEWEST = 3  # frames of a triplet


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution
    embedding: int  # dimensions of the embedding; the authors 256
    sequence: int  # frames of a sample, the anchor included; the authors 12
    gap: int  # frames as they are stored: least distance of neighbours in a sample
    margin: float  # between squared distances of unit vectors, which are at most 4; the authors' code 0.03


class TemporalRanking(Method):
    frames_by = "ordered"

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.frames, self.gap, self.margin = params.sequence, params.gap, params.margin
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `accuracy`: the share of triplets whose earlier frame is the closer one."""
        embeddings = self.encoder(frames.flatten(0, 1)).flatten(1).unflatten(0, frames.shape[:2])  # (B, F, D)
        distances = to_first(embeddings)
        is_right = distances[:, :-1] < distances[:, 1:]
        return {"loss": ranking(distances, self.margin).mean(), "accuracy": is_right.float().mean()}


def to_first(embeddings: Tensor) -> Tensor:
    """(B, F, D) -> (B, F - 1): squared distances of unit vectors, from the first one to each of the others."""
    unit = nn.functional.normalize(embeddings, dim=-1)
    return (unit[:, :1] - unit[:, 1:]).square().sum(-1)


def ranking(distances: Tensor, margin: float) -> Tensor:
    """Distances (B, F - 1) in the order of time -> (B,): the sum over neighbours of how far they miss the margin."""
    return (distances[:, :-1] - distances[:, 1:] + margin).relu().sum(1)


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return TemporalRanking(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why no triplet can be made."""
    if params.sequence < FEWEST:
        return f"sequence should be at least {FEWEST} frames, an anchor and two to rank, found {params.sequence}"
    return frame_choice.problem(params.gap)
