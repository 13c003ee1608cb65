"""Linear probe for classes: one sigmoid per class, each class against the rest.

Loss: binary cross-entropy per class. The authors' demo applies a sigmoid to each of the 8 expressions, which
implies it; that the published heads were trained so is not stated.
"""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fabnet import probe_head
from fabnet.probe_head import Probe, Samples, Settings


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives one score in (0, 1) per class; y is one-hot or multi-label, 0 or 1."""
    return probe_head.fit(train, val, params, loss=_cross_entropy, link=Tensor.sigmoid)


def _cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, y, reduction="none")
