"""VICReg: embed two frames of a track alike, without negatives (Bardes, Ponce and LeCun, ICLR 2022).

Objective: on projections of the embeddings, the mean squared distance of the two views (invariance), a hinge that keeps
every dimension's standard deviation at 1 (variance), and the squared covariances between dimensions (covariance), from
pytorch-metric-learning. As in the authors' code the variance term is the mean over both views, not their sum.
Departures: the two views are two frames of a track instead of two augmentations of an image; the projector has two
layers instead of three and its BN sees both views at once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fabnet.modules.method import Method
from fabnet.modules.two_views import TwoViews


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution
    embedding: int  # dimensions of the embedding
    projection: int  # dimensions that the loss sees; the paper 8192
    invariance: float  # weights of the three terms; the paper 25, 25, 1
    variance: float
    covariance: float


class VICReg(TwoViews):
    """The criterion takes projections (B, P) of the first views, and those of the second ones as `ref_emb`."""

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `spread`: the mean standard deviation of a dimension, 0 when all frames are embedded alike."""
        first, second = self.projections(frames)
        spread = torch.stack([first, second]).std(dim=1).mean()
        return {"loss": self.criterion(first, ref_emb=second), "spread": spread}


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    from pytorch_metric_learning import losses  # noqa: PLC0415  only two methods need this package

    weights: dict[str, Any] = {  # the package declares these as int
        "invariance_lambda": params.invariance,
        "variance_mu": params.variance,
        "covariance_v": params.covariance,
    }
    return VICReg(params, losses.VICRegLoss(**weights), size_px=size_px)
