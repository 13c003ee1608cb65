"""Batch norm per view: several views share a call of the convolutions, but not their statistics.

The original calls its encoder once for the target and once for each source, so in training every call is normalised by
its own frames alone. The result here is that of those calls, and so are the running statistics.
"""

import torch
from torch import Tensor, nn

from fabnet.modules import ranks


class ViewNorm2d(nn.BatchNorm2d):
    """(views * B, C, H, W), one view after the other -> the same, in training each view normalised on its own.

    Running statistics move once for each view, in their order. In evaluation mode views make no difference.
    """

    def forward(self, input: Tensor, views: int = 1) -> Tensor:
        if views == 1 or not self.training:
            return self.normalise(input)
        return torch.cat([self.normalise(view) for view in input.chunk(views)])  # faster than statistics of all at once

    def normalise(self, view: Tensor) -> Tensor:
        """A view (B, C, H, W) by its own statistics in training, by the running ones in evaluation mode."""
        return ranks.normalise(self, view) if self.training and ranks.count() > 1 else super().forward(view)


class ViewSequential(nn.Sequential):
    """Layers in their order; those that normalise are told how many views the batch holds, one after the other."""

    def forward(self, input: Tensor, views: int = 1) -> Tensor:
        for layer in self:
            input = layer(input, views) if isinstance(layer, ViewNorm2d) else layer(input)
        return input
