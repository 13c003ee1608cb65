"""Retrieval of classes: the share of each class among the nearest images of the training split.

Nothing is fitted and nothing is chosen, so the validation split is not used; see `fabnet.retrieval`.
"""

from fabnet.probe_head import Probe, Samples, Settings
from fabnet.probes import classes
from fabnet.retrieval import Neighbours

# labels are those of the linear probe for classes
problems = classes.problems
encode = classes.encode
decode = classes.decode


def fit(train: Samples, val: Samples, params: Settings) -> Probe:
    """A probe whose `predict` gives the share of each class among the nearest of `train`; y (N, K) is one-hot."""
    del val
    return Neighbours(train.x, train.y, params.neighbours)
