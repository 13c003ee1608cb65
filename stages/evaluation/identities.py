"""Identity leakage: how well embeddings of test frames distinguish the identities of one track data set."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from fabnet import retrieval
from stages.evaluation.scores import Predictions


def leakage(embeddings: pa.Table) -> tuple[list[str], Predictions]:
    """Identities with frames of several videos, sorted, and how often the nearest frame shows the same identity.

    Args:
        embeddings: TRACK_EMBEDDINGS.

    Returns:
        names (N,), and as truth (N, 1) 1, as prediction (N, 1) the mean of `fabnet.retrieval.leakage` over the
        identity's frames. Both are empty if no identity has two videos, or if there is only one identity.
    """
    identity = embeddings["identity_id"].to_pylist()
    video = [f"{name}/{of}" for name, of in zip(identity, embeddings["video_id"].to_pylist(), strict=True)]
    if len(set(identity)) < 2:
        return [], _predictions(np.empty(0))
    x = torch.from_numpy(np.stack(embeddings["embedding"].to_numpy()).astype(np.float64))
    shares = retrieval.leakage(x, _codes(identity), _codes(video)).numpy()
    is_defined = np.isfinite(shares)
    names, of = np.unique(np.array(identity)[is_defined], return_inverse=True)
    means = np.bincount(of, shares[is_defined], len(names)) / np.bincount(of, minlength=len(names)).clip(1)
    return names.tolist(), _predictions(means)


def _codes(names: Sequence[str]) -> torch.Tensor:
    return torch.from_numpy(np.unique(names, return_inverse=True)[1])


def _predictions(shares: NDArray[np.float64]) -> Predictions:
    stored = shares.astype(np.float32).astype(np.float64)[:, None]  # as the table holds them
    return Predictions(np.ones_like(stored), stored, ())
