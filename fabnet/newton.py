"""Newton's method for linear models: every output is a convex problem of its own, and all pass over the data together.

A Hessian costs as much as a pass or two for every output. So an output keeps its own while steps still shrink what is
left at a good rate, also from one L2 weight to the next; a kept Hessian changes the number of steps, not the optimum.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LEFT = 1e-18  # twice the loss that is still to gain; outputs are then within 1e-6 of the optimum's
RATE = 0.1  # a step should leave less than this share of it, or the Hessian is renewed
RISE = 1e-9  # relative; a loss that rises by less has not risen but for rounding
FLOOR = 1e-18  # curvature of an intercept that no sample bends any more: of a class that never occurs
ROWS = 2**13  # of a Hessian at a time, 16 MiB at 256 dimensions

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs (N, K), targets (N, K) -> (N, K), convex, column by column


class _Point(NamedTuple):
    """Coefficients (K, D), the loss of every output (K,) and its slopes (K, D)."""

    coefficients: Tensor
    values: Tensor
    slopes: Tensor

    def but(self, other: "_Point", chosen: Tensor) -> "_Point":
        """`other` for the outputs that are chosen (K,), this one for the rest."""
        rows = chosen[:, None]
        return _Point(
            torch.where(rows, other.coefficients, self.coefficients),
            torch.where(chosen, other.values, self.values),
            torch.where(rows, other.slopes, self.slopes),
        )


class Minimum(NamedTuple):
    """Where the solver stopped."""

    coefficients: Tensor  # A (K, D)
    iterations: int  # steps taken
    is_converged: bool  # False: `max_iter` steps were not enough


class Newton:
    """Minimises mean over samples of loss(A z, y) + l2 / 2 * |A without its last column|^2, L2 weight by L2 weight.

    Args:
        z: (N, D) float64; the last column is 1, so the last column of A is the intercept.
        y: (N, K) float64 on the same device, which does the work.
        loss: twice differentiable.
        max_iter: the most steps for each L2 weight.
    """

    def __init__(self, z: Tensor, y: Tensor, loss: Loss, *, max_iter: int) -> None:
        self._z, self._y, self._loss, self._max_iter = z, y, loss, max_iter
        self._coefficients = z.new_zeros(y.shape[1], z.shape[1])
        self._hessians = self._shared_or_each()

    def minimum(self, l2: float) -> Minimum:
        """Starts where the last call ended, so go from the strongest weight to the weakest."""
        penalty = self._z.new_full((self._z.shape[1],), l2)
        penalty[-1] = 0
        here = self._at(self._coefficients, penalty)
        factor = self._factor(penalty)
        step, left = _step(here, factor)
        iterations = 0
        while iterations < self._max_iter and not (left < LEFT).all():
            iterations += 1
            there = self._at(here.coefficients - step, penalty)
            falls = there.values <= here.values + RISE * here.values.abs()  # not so if it is not a number
            here = here.but(there, falls)
            onward, rest = _step(here, factor)
            slow = falls & (rest > RATE * left) & (rest > LEFT)
            if slow.any():
                self._renew(slow, here.coefficients)
                factor = self._factor(penalty)
                onward, rest = _step(here, factor)
            step, left = torch.where(falls[:, None], onward, step / 2), torch.where(falls, rest, left)
        self._coefficients = here.coefficients
        return Minimum(here.coefficients, iterations, bool((left < LEFT).all()))

    def _at(self, coefficients: Tensor, penalty: Tensor) -> _Point:
        outputs = (self._z @ coefficients.T).requires_grad_()
        losses = self._loss(outputs, self._y).mean(0)
        (slopes,) = torch.autograd.grad(losses.sum(), outputs)
        values = losses.detach() + coefficients.square() @ penalty / 2
        return _Point(coefficients, values, slopes.T @ self._z + coefficients * penalty)

    def _curvature(self, coefficients: Tensor) -> Tensor:
        """Second derivative (N, K) of the mean loss by every output."""
        outputs = (self._z @ coefficients.T).requires_grad_()
        losses = self._loss(outputs, self._y).mean(0)
        (slopes,) = torch.autograd.grad(losses.sum(), outputs, create_graph=True)
        (curvature,) = torch.autograd.grad(slopes.sum(), outputs)
        return curvature

    def _shared_or_each(self) -> Tensor:
        """(K, D, D) without the penalty; (1, D, D) if all outputs have the same, as those of a regression."""
        curvature = self._curvature(self._coefficients)
        if (curvature == curvature[:, :1]).all():
            curvature = curvature[:, :1]
        return torch.stack([self._hessian(of_output) for of_output in curvature.T])

    def _renew(self, outputs: Tensor, coefficients: Tensor) -> None:
        """The Hessians of some outputs (K,), at these coefficients."""
        if len(self._hessians) < len(outputs):
            self._hessians = self._hessians.repeat(len(outputs), 1, 1)
        curvature = self._curvature(coefficients)
        for output in outputs.nonzero().flatten().tolist():
            self._hessians[output] = self._hessian(curvature[:, output])

    def _hessian(self, curvature: Tensor) -> Tensor:
        """(D, D) for the curvature (N,) of one output."""
        total = self._z.new_zeros(self._z.shape[1], self._z.shape[1])
        for rows, weights in zip(self._z.split(ROWS), curvature.split(ROWS), strict=True):
            total.addmm_(rows.T, rows * weights[:, None])
        return total

    def _factor(self, penalty: Tensor) -> Tensor:
        """Cholesky factors of the Hessians with the penalty."""
        return torch.linalg.cholesky(self._hessians + torch.diag(penalty.clamp_min(FLOOR)))


def _step(here: _Point, factor: Tensor) -> tuple[Tensor, Tensor]:
    """What to take from the coefficients (K, D), and twice the loss that the Hessians expect of it (K,)."""
    step = _solved(factor, here.slopes[:, :, None])[:, :, 0]
    return step, (here.slopes * step).sum(1)


def _solved(factor: Tensor, right: Tensor) -> Tensor:
    """Solutions x (K, D, 1) of L L^T x = b for right-hand sides b (K, D, 1) and factors L (K, D, D), or one for all."""
    if len(factor) < len(right):
        return torch.cholesky_solve(right, factor)
    below = torch.linalg.solve_triangular(factor, right, upper=False)  # the other call copies all factors first
    return torch.linalg.solve_triangular(factor.mT, below, upper=True)
