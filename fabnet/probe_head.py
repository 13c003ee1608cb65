"""Fit the probe head of the paper: BatchNorm1d, then a linear layer without bias, on frozen embeddings.

The head is an affine map, so it is fitted as one, a convex problem, and then rewritten exactly in the layout of
the released heads. Departures: the paper names neither optimiser nor regularisation; here Newton's method in
float64 minimises the mean loss plus an L2 penalty, whose weight is chosen on the validation split. All is done on the
device where the samples lie.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabnet.newton import Loss, Newton

WEAK = 1e-3  # singular values below this share of the largest carry no intercept: BN's shift would become huge
EPS = 1e-5  # of BN, PyTorch's default
TINY = 1e-14  # variance of a dimension that is constant but for rounding
STEP = 1e-3  # weight, per unit of output, of the direction that carries the rest of the intercept

Link = Callable[[Tensor], Tensor]  # outputs -> predictions
# a short kind, a detail that may be empty, and which labels (N,) have this problem: of several the first one counts
Problem = tuple[str, str, NDArray[np.bool_]]
Shift = Callable[[Tensor, Tensor], Tensor]  # outputs and targets (N, K) of validation -> (K), added to the outputs


def half_squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Loss of a regression, (N, K)."""
    return (outputs - y).square() / 2


def as_is(outputs: Tensor) -> Tensor:
    """Link of a regression."""
    return outputs


@dataclass(frozen=True)
class Crops:
    """Sizes and origins of N stored crops."""

    size_px: NDArray[np.float64]  # (N, 2) width and height as stored
    source_xyxy_px: NDArray[np.float64]  # (N, 4) continuous edges in the source image; may leave it

    def __getitem__(self, mask: NDArray[np.bool_]) -> "Crops":
        return Crops(self.size_px[mask], self.source_xyxy_px[mask])


@dataclass(frozen=True)
class Samples:
    """Embeddings and targets on one device, N samples of one split.

    Raises:
        ValueError: no sample, lengths that differ, or a value that is not finite.
    """

    x: Tensor  # (N, D) float64
    y: Tensor  # (N, K) float64

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not len(self.x):
            raise ValueError(
                f"expected as many embeddings as targets, at least one; found {len(self.x)}, {len(self.y)}"
            )
        if not (self.x.isfinite().all() and self.y.isfinite().all()):
            raise ValueError("embeddings and targets should be finite numbers")


@dataclass(frozen=True)
class Settings:
    l2: Sequence[float]  # weights of the L2 penalty to try, each above 0
    max_iter: int  # Newton steps for each
    neighbours: int  # k of the nearest-neighbour probes


class Tried(NamedTuple):
    """One L2 weight of the sweep."""

    val_loss: float
    iterations: int  # Newton steps
    is_converged: bool  # False: stopped after `Settings.max_iter` steps, before the optimum


class Probe(Protocol):
    """A fitted probe, as the modules of fabnet/probes return it.

    A module whose probes have a head also offers its `link`, with which a stored head can predict.
    """

    @property
    def l2(self) -> float | None:
        """The chosen weight of the L2 penalty; None if nothing was fitted."""
        ...

    @property
    def tried(self) -> Mapping[float, Tried]:
        """What came of each L2 weight; empty if nothing was fitted."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) -> predictions (N, K), float64, all on the device of the samples."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Weights of a head in the layout of the released heads, on the CPU; empty without a head."""
        ...


@dataclass(frozen=True)
class FittedHead:
    """A fitted head, and the sweep in which its L2 weight was chosen."""

    head: nn.Sequential  # (N, D) -> (N, K); weights of float32 precision, computed in float64
    link: Link
    l2: float  # the chosen weight of the L2 penalty
    tried: Mapping[float, Tried]  # by L2 weight; empty for a head that was read from a file

    def predict(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) -> predictions (N, K), float64."""
        with torch.no_grad():
            return self.link(self.head(x.double()))

    def state(self) -> dict[str, Tensor]:
        """float32 weights under the names of the released heads: `0.` is BatchNorm1d, `1.` the linear layer."""
        names = ("0.weight", "0.bias", "0.running_mean", "0.running_var", "1.weight")
        return {name: self.head.state_dict()[name].float().cpu().contiguous() for name in names}


def fit(
    train: Samples, val: Samples, settings: Settings, *, loss: Loss, link: Link, shift: Shift | None = None
) -> FittedHead:
    """The head with the lowest mean loss on `val` among those fitted to `train`; the larger L2 weight wins a tie.

    `shift` moves the outputs of the chosen head, so that a decision threshold can be part of it.
    """
    z, norm = standardise(train.x)
    z_val = _normalised(val.x, norm)
    gram = z[:, :-1].T @ z[:, :-1]
    spanned, basis = _spanned(z)
    newton = Newton(spanned, train.y, loss, max_iter=settings.max_iter)
    affine: dict[float, tuple[Tensor, Tensor]] = {}
    tried: dict[float, Tried] = {}
    for l2 in sorted(settings.l2, reverse=True):
        found = newton.minimum(l2)
        affine[l2] = found.coefficients[:, :-1] @ basis, found.coefficients[:, -1]
        outputs = z_val @ affine[l2][0].T + affine[l2][1]
        tried[l2] = Tried(loss(outputs, val.y).sum(1).mean().item(), found.iterations, found.is_converged)
    best = min(tried, key=lambda l2: tried[l2].val_loss)
    linear, intercept = affine[best]
    if shift is not None:
        intercept = intercept + shift(z_val @ linear.T + intercept, val.y)
    return FittedHead(_head(norm, *fold_intercept(linear, intercept, gram)), link, best, tried)


def standardise(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Embeddings (N, D) -> what BN makes of them, and a column of ones, (N, D + 1); and BN's weights.

    Its mean and variance are those of the training split, as one full batch would leave them.
    """
    z = x.new_ones(len(x), x.shape[1] + 1)
    inner = z[:, :-1].copy_(x)
    mean, variance = inner.mean(0), inner.var(0, correction=0)
    weight = _undamped(variance)
    inner.sub_(mean).mul_(weight / (variance + EPS).sqrt())
    return z, {"0.weight": weight, "0.running_mean": mean, "0.running_var": variance}


def _normalised(x: Tensor, norm: Mapping[str, Tensor]) -> Tensor:
    """What BN with these weights makes of embeddings (N, D)."""
    return (x - norm["0.running_mean"]) * (norm["0.weight"] / (norm["0.running_var"] + EPS).sqrt())


def _spanned(z: Tensor) -> tuple[Tensor, Tensor]:
    """Samples (N, D + 1) in the R dimensions that they span, (N, R + 1), and these dimensions, (R, D) orthonormal.

    With fewer samples than dimensions the optimum lies in their span, because the penalty holds all else at 0. R is N
    at most, which makes a probe of a few images cheap.
    """
    inner = z[:, :-1]
    if len(inner) >= inner.shape[1]:
        return z, torch.eye(inner.shape[1], dtype=z.dtype, device=z.device)
    outer, scale, basis = torch.linalg.svd(inner, full_matrices=False)
    return torch.cat([outer * scale, z[:, -1:]], dim=1), basis


def fold_intercept(linear: Tensor, intercept: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """W (K, D) and shift (D) with W (z + shift) = A z + b, the only form of a layer without bias.

    Args:
        linear: A (K, D).
        intercept: b (K).
        gram: z^T z (D, D) of the standardised training embeddings.

    The strong singular directions of A carry b exactly. What they cannot carry (dependent outputs, more outputs
    than dimensions) goes into one direction outside them, the one with the least variance of the data: W drops its
    component of A, below `WEAK` of the largest, and gets `STEP` times the rest of b instead.
    """
    outer, scale, inner = torch.linalg.svd(linear, full_matrices=True)  # (K, K), (min), (D, D)
    outputs, dims = linear.shape
    rank = int((scale > WEAK * scale[0]).sum())
    if rank == dims and outputs > dims:
        rank -= 1
    carried = outer[:, :rank].T @ intercept
    shift = inner[:rank].T @ (carried / scale[:rank])
    if rank == dims:
        return linear, shift
    rest = intercept - outer[:, :rank] @ carried
    outside = inner[rank:]  # (D - rank, D), orthonormal rows
    quietest = outside.T @ torch.linalg.eigh(outside @ gram @ outside.T).eigenvectors[:, 0]
    weight = linear + torch.outer(STEP * rest - linear @ quietest, quietest)
    return weight, shift + quietest / STEP


def _undamped(variance: Tensor) -> Tensor:
    """BN weights (D) that give every dimension unit variance, however far its own lies below `EPS`; 0 if constant.

    An untrained encoder's embedding varies by about 1e-7, a hundredth of `EPS`: without this the same L2 weight would
    regularise it more than a trained one, and the control would look worse than it is. A constant dimension varies
    only by rounding, which would be mistaken for a direction that can carry the intercept.
    """
    return torch.where(variance > TINY, ((variance + EPS) / variance.clamp_min(TINY)).sqrt(), 0.0)


def _head(norm: Mapping[str, Tensor], weight: Tensor, shift: Tensor) -> nn.Sequential:
    """The layers with their weights rounded to float32, as they are exported."""
    return layers({name: value.float() for name, value in {**norm, "0.bias": shift, "1.weight": weight}.items()})


def layers(state: Mapping[str, Tensor]) -> nn.Sequential:
    """The head with the weights in `state`, on their device, (N, D) float64 -> (N, K).

    Raises:
        KeyError, RuntimeError: a weight is missing or does not fit.
    """
    outputs, dims = state["1.weight"].shape
    head = nn.Sequential(nn.BatchNorm1d(dims, eps=EPS), nn.Linear(dims, outputs, bias=False)).double()
    head.load_state_dict({"0.num_batches_tracked": torch.zeros((), dtype=torch.long), **state})
    return head.eval().to(state["1.weight"].device)
