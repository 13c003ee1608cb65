"""Identity leakage: how well embeddings of test frames distinguish the identities of one track data set."""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from fabnet import retrieval
from stages.evaluation import columns
from stages.evaluation.scores import Predictions


def leakage(embeddings: pa.Table, device: torch.device) -> tuple[list[str], Predictions]:
    """Identities with frames of several videos, sorted, and how often the nearest frame shows the same identity.

    Args:
        embeddings: TRACK_EMBEDDINGS.
        device: does the work.

    Returns:
        names (N,), and as truth (N, 1) 1, as prediction (N, 1) the mean of `fabnet.retrieval.leakage` over the
        identity's frames. Both are empty if no identity has two videos, or if there is only one identity.
    """
    identity, video = (embeddings[name] for name in ("identity_id", "video_id"))
    if len(identity.unique()) < 2:
        return [], _predictions(np.empty(0))
    x, of_identity, of_video = (
        torch.tensor(values, device=device)
        for values in (columns.matrix(embeddings["embedding"]), columns.codes(identity), columns.codes(identity, video))
    )
    shares = retrieval.leakage(x.double(), of_identity, of_video).cpu().numpy()
    is_defined = np.isfinite(shares)
    names, of = np.unique(columns.texts(identity)[is_defined], return_inverse=True)
    means = np.bincount(of, shares[is_defined], len(names)) / np.bincount(of, minlength=len(names)).clip(1)
    return names.tolist(), _predictions(means)


def _predictions(shares: NDArray[np.float64]) -> Predictions:
    stored = shares.astype(np.float32).astype(np.float64)[:, None]  # as the table holds them
    return Predictions(np.ones_like(stored), stored, ())
