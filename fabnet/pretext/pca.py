"""Control: principal components of the pixels of training frames, a linear map of the image.

Objective: least squared error of the pixels rebuilt from the embedding, in closed form (Pearson 1901).
Departures: the study has no such control. Frames are averaged down to `side_px`, and the components are those of the
first `frames` samples of one epoch, whose order is random: both bound memory at `frames` x 3 `side_px`^2 floats and
one matrix of the smaller of the two sides, squared. Pixels are centred, not scaled. A component's sign is such that its
largest weight is positive; components beyond the rank are zeros.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fabnet.modules.method import Method

TINY = 1e-12  # variances below this share of the largest are rounding errors


@dataclass(frozen=True)
class Params:
    embedding: int  # components
    side_px: int  # frames are averaged down to this side; a smaller input stays as it is
    frames: int  # training frames that are used at most


class Components(nn.Module):
    """(B, 3, S, S) in [0, 1] -> scores (B, embedding), in pixel values."""

    mean: Tensor  # (3 * side_px^2)
    axes: Tensor  # (embedding, 3 * side_px^2), orthonormal rows or zeros

    def __init__(self, *, side_px: int, embedding: int) -> None:
        super().__init__()
        self.side_px = side_px
        self.register_buffer("mean", torch.zeros(3 * side_px**2))
        self.register_buffer("axes", torch.zeros(embedding, 3 * side_px**2))

    def pixels(self, frames: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 3 * side_px^2)."""
        return F.adaptive_avg_pool2d(frames, self.side_px).flatten(1)

    def forward(self, frames: Tensor) -> Tensor:
        return (self.pixels(frames) - self.mean) @ self.axes.T


class PrincipalComponents(Method):
    frames = 1
    is_solved = True

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.encoder = self.components = Components(side_px=min(params.side_px, size_px), embedding=params.embedding)
        self.limit = params.frames

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`: mean squared error of the averaged pixels rebuilt from the embedding."""
        centred = self.components.pixels(frames[:, 0]) - self.components.mean
        rebuilt = self.components(frames[:, 0]) @ self.components.axes
        return {"loss": (centred - rebuilt).square().mean()}

    def solve(self, batches: Iterable[Tensor]) -> None:
        """The components of the first `limit` frames; later batches are not drawn."""
        x = torch.cat(list(self._first(batches))).double()
        x -= (mean := x.mean(0))
        self.components.mean.copy_(mean)
        self.components.axes.copy_(principal_axes(x, len(self.components.axes)))

    def _first(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        missing = self.limit
        for frames in batches:
            yield self.components.pixels(frames[:missing, 0]).cpu()
            missing -= len(frames)
            if missing <= 0:
                return


def principal_axes(x: Tensor, count: int) -> Tensor:
    """Centred rows (N, D) float64 -> (count, D), orthonormal, of falling variance; zeros beyond the rank.

    From the eigenvectors of the smaller of the two matrices x x^T and x^T x.
    """
    samples, dims = x.shape
    axes = x.new_zeros(count, dims)
    variance, vectors = torch.linalg.eigh(x @ x.T if samples < dims else x.T @ x)
    rank = min(count, int((variance > TINY * variance[-1]).sum()))
    variance, vectors = variance.flip(0)[:rank], vectors.flip(1)[:, :rank]
    rows = (x.T @ (vectors / variance.sqrt())).T if samples < dims else vectors.T
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    axes[:rank] = rows * largest.sign()
    return axes


def build(params: Params, *, size_px: int) -> Method:
    """Components that are zeros until they are solved for."""
    return PrincipalComponents(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why the settings cannot be used."""
    wrong = [name for name in ("embedding", "side_px", "frames") if getattr(params, name) < 1]
    return f"{wrong[0]} should be at least 1, found {getattr(params, wrong[0])}" if wrong else None
