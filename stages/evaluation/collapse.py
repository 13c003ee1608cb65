"""Whether embeddings of still images have collapsed: all images get nearly the same one, or one along few directions.

Trainings are watched while they go on; this also tells of encoders that came with the user and of solved ones.
"""

import numpy as np
import pyarrow as pa
import torch

from fabnet.training import health
from stages.evaluation import columns

KIND = "the embedding has collapsed"  # of a reject: the embeddings of one data set
MOST = 500  # images that are looked at, evenly spread


def problem(vectors: pa.ChunkedArray) -> str | None:
    """Why the embeddings (N,) count as collapsed, in one clause; None if they do not, or there are fewer than two."""
    x = columns.matrix(vectors)
    count = min(len(x), MOST)
    if count < 2:
        return None
    taken = torch.from_numpy(x[(2 * np.arange(count) + 1) * len(x) // (2 * count)]).double()
    return health.problem(
        {
            "watched_frames": float(count),
            "effective_rank": health.effective_rank(taken),
            "dead_share": health.dead_share(taken),
        }
    )
