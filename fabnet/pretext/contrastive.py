"""Contrastive: find the other frame of the same track among all frames of the batch (SimCLR, Chen et al., ICML 2020).

Objective: NT-Xent on projections of the embeddings, from pytorch-metric-learning. It makes several tables of
2 B x 4 B (B - 1) numbers for a batch of B: 1 MB each for 32 samples, 0.5 GB each for 256.
Departures: the two views are two frames of a track instead of two augmentations of an image, so the loss asks the
embedding to keep the identity and to lose pose and expression. Two samples of a batch may show the same identity and
still count as negatives, more often with fewer identities.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fabnet.modules.method import Method
from fabnet.modules.two_views import TwoViews


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution
    embedding: int  # dimensions of the embedding
    projection: int  # dimensions that the loss sees; SimCLR 128
    temperature: float  # of the softmax over cosine similarities; SimCLR 0.1 to 0.5 for batches of 256


class Contrastive(TwoViews):
    """The criterion takes projections (B, P) of the first and of the second views."""

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `accuracy`: the share of frames whose most similar frame is the other one of their track."""
        first, second = self.projections(frames)
        return {"loss": self.criterion(first, second), "accuracy": matched(first, second)}


def matched(first: Tensor, second: Tensor) -> Tensor:
    """Two views (B, P) each -> the share of the 2 B whose nearest neighbour by cosine is their partner."""
    count = len(first)
    unit = nn.functional.normalize(torch.cat([first, second]))
    similarity = (unit @ unit.T).fill_diagonal_(-torch.inf)
    partners = torch.arange(2 * count, device=first.device).roll(count)
    return (similarity.argmax(dim=1) == partners).float().mean()


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    from pytorch_metric_learning import losses  # noqa: PLC0415  only two methods need this package

    criterion = losses.SelfSupervisedLoss(losses.NTXentLoss(temperature=params.temperature))
    return Contrastive(params, criterion, size_px=size_px)
