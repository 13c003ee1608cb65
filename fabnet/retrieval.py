"""Retrieval of nearest neighbours: embeddings evaluated without any fitted layer.

Neighbours have the highest cosine similarity after the mean of the gallery is subtracted. Without that, all
embeddings of an untrained encoder point in the same direction, because they barely vary around a large constant vector.
Dimensions are not scaled to the same variance: that would give dimensions with almost no variance, such as the last of
a PCA, the weight of the first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

TIE = 1e-9  # similarities that differ by less are equal
CELLS_PER_BLOCK = 2**23  # similarities held at a time, 64 MiB


@dataclass(frozen=True)
class Neighbours:
    """k-nearest-neighbour probe: class shares among the `count` nearest gallery embeddings; a `probe_head.Probe`."""

    gallery: Tensor  # (G, D) float64
    y: Tensor  # (G, K) float64, one-hot
    count: int
    l2: float | None = None
    tried: Mapping[float, Any] = field(default_factory=dict[float, Any])  # nothing

    def predict(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) -> share of each class among the nearest (N, K), float64, rows add up to 1."""
        centre = self.gallery.mean(0)
        of_class = [nearest(similarity, self.count) @ self.y for _, similarity in similarities(x, self.gallery, centre)]
        return torch.cat(of_class)

    def state(self) -> dict[str, Tensor]:
        """Empty: there is no head."""
        return {}


def similarities(queries: Tensor, gallery: Tensor, centre: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of `queries` (N, D) in blocks, and their cosine similarity to all of `gallery` (G, D), (B, G) float64."""
    directions = F.normalize(gallery.double() - centre, dim=1)  # a vector at the centre stays 0
    rows = max(1, CELLS_PER_BLOCK // len(gallery))
    for start in range(0, len(queries), rows):
        block = slice(start, min(start + rows, len(queries)))
        yield block, F.normalize(queries[block].double() - centre, dim=1) @ directions.T


def nearest(similarity: Tensor, count: int) -> Tensor:
    """Weights of the gallery embeddings among the `count` nearest of each query.

    Args:
        similarity: (N, G); -inf for embeddings that are excluded.
        count: at least 1; if fewer embeddings remain, all of those.

    Returns:
        (N, G), rows add up to 1. Embeddings that tie for the last ranks share them equally, so that the order of the
        gallery does not matter: with the same embedding for every image each class has its share of the whole gallery.
        Rows of a query without any neighbour are 0.
    """
    is_candidate = similarity.isfinite()
    wanted = is_candidate.sum(1, keepdim=True).clamp_max(count)  # (N, 1)
    ranked = similarity.topk(min(count, similarity.shape[1]), dim=1).values
    last = ranked.gather(1, (wanted - 1).clamp_min(0))
    is_above = similarity > last + TIE
    is_tied = is_candidate & ~is_above & (similarity >= last - TIE)
    shared = wanted - is_above.sum(1, keepdim=True)  # ranks of those that tie
    weight = is_above.double() + is_tied * (shared / is_tied.sum(1, keepdim=True).clamp_min(1))
    return weight / wanted.clamp_min(1)


def leakage(x: Tensor, identity: Tensor, video: Tensor) -> Tensor:
    """Whether the nearest frame of any other video shows the same identity.

    Args:
        x: (N, D) embeddings.
        identity: (N,) codes.
        video: (N,) codes; a video shows one identity.

    Returns:
        (N,) float64: 1 or 0, or between them where nearest frames tie; NaN for an identity that is in no other video.

    The embeddings are centred on the mean of all frames.
    """
    shares = x.new_full((len(x),), float("nan"), dtype=torch.float64)
    for block, similarity in similarities(x, x, x.double().mean(0)):
        is_other = video[block, None] != video
        is_same = is_other & (identity[block, None] == identity)
        weight = nearest(similarity.masked_fill(~is_other, -torch.inf), 1)
        shares[block] = torch.where(is_same.any(1), (weight * is_same).sum(1), torch.nan)
    return shares
