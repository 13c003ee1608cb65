"""The probe of 11 action units with five L2 weights, against scikit-learn, unit by unit to the same optimum.

Times are those of one core. scikit-learn runs its solver for many samples of few dimensions and starts each L2 weight
from the last one. Its default solver, `lbfgs`, stops early: with its default tolerance outputs are off by 0.4. The same
probe on a GPU: `benchmarks/gpu_probe.py`.
"""

import time
from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.gpu_probe import SETTINGS, UNITS, made
from benchmarks.rows import Row, apart
from fabnet.newton import Newton
from fabnet.probe_head import standardise
from fabnet.probes import action_units

SOLVER, TOLERANCE = "newton-cholesky", 1e-10


def compare(wanted: Namespace) -> Iterator[Row]:
    """One row."""
    ours, theirs = (apart(way, wanted.images) for way in (probe_s, sklearn_s))
    difference = apart(largest_difference, wanted.images).value
    what = f"probe of {UNITS} units, {wanted.images:,} images, {len(SETTINGS.l2)} L2 weights"
    name = f"scikit-learn, {SOLVER}, outputs differ by at most {difference:.0e}"
    yield Row("probing", what, "s", name, ours[0], theirs[0], ours[1], theirs[1])


def probe_s(images: int) -> float:
    """Seconds for the whole fit."""
    torch.set_num_threads(1)
    train, val = made(images)
    start = time.process_time()
    action_units.fit(train, val, SETTINGS)
    return time.process_time() - start


def sklearn_s(images: int) -> float:
    """Seconds for every unit and L2 weight, with the validation losses that choose one."""
    train, val = made(images)
    with threadpool_limits(1):
        start = time.process_time()
        scaler = StandardScaler().fit(train.x.numpy())
        z, z_val = (scaler.transform(samples.x.numpy()) for samples in (train, val))
        for y, y_val in zip(train.y.T.numpy(), val.y.T.numpy(), strict=True):
            model = LogisticRegression(solver=SOLVER, tol=TOLERANCE, max_iter=10_000, warm_start=True)
            for l2 in sorted(SETTINGS.l2, reverse=True):
                model.set_params(C=1 / (l2 * images)).fit(z, y)
                np.logaddexp(0, -model.decision_function(z_val) * (2 * y_val - 1)).mean()
        return time.process_time() - start


def largest_difference(images: int) -> float:
    """Of our outputs from those of scikit-learn, for the weakest L2 weight, at which optima are hardest to reach."""
    (train, _), l2 = made(images), min(SETTINGS.l2)
    z, _ = standardise(train.x)
    newton = Newton(z, train.y, action_units.known_cross_entropy, max_iter=SETTINGS.max_iter)
    ours = z @ newton.minimum(l2).coefficients.T
    model = LogisticRegression(C=1 / (l2 * images), solver=SOLVER, tol=TOLERANCE, max_iter=10_000)
    inner = z[:, :-1].numpy()
    theirs = [model.fit(inner, y).decision_function(inner) for y in train.y.T.numpy()]
    return float(np.abs(ours.numpy() - np.stack(theirs, axis=1)).max())
