"""How healthy an encoder is while it trains: measures of its embeddings of frames that stay the same, without labels.

A training whose loss falls may still lose its embedding: all images get nearly the same one, or one that varies along
few directions. All measures are defined for any embeddings: if all are equal, the rank is 1. The loss itself is looked
at as well: one that is 0, or far above its lowest value, says that something is wrong.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from fabnet import retrieval

DEAD_SPREAD = 1e-3  # of the root mean square of all values; the dimensions of an untrained encoder have 1e-2 to 3e-2
LEAST_RANK = 3.0
MOST_DEAD = 0.5
MOST_STILL = 0.5
SAME = 2 / 255  # frames that differ by no more in any pixel are the same picture
VANISHED = 1e-4  # a loss below it; those of healthy trainings end at 0.03 and more
EXPLODED = 10.0  # times its lowest value; epochs of healthy trainings stay below 1.1 times
MOST_NEVER_POSITIVE = 0.75  # an untrained encoder barely varies around a constant, so almost half of its are


def measures(x: Tensor, track: Tensor, identity: Tensor, video: Tensor) -> dict[str, float]:
    """All measures of the embeddings of N frames by name.

    Args:
        x: (N, D) embeddings.
        track: (N,) codes.
        identity: (N,) codes.
        video: (N,) codes; a video shows one identity.

    Returns:
        watched_frames: N; the effective rank is at most N - 1.
        effective_rank, dead_share, never_positive_share: see the functions of these names.
        knn_track: share of frames whose nearest other frame is of the same track.
        knn_identity: share of frames whose nearest frame of any other video shows the same identity; left out if
            there is one identity, or none has two videos.
    """
    x = x.double()
    alone = torch.arange(len(x))  # every frame for itself
    found = {
        "watched_frames": float(len(x)),
        "effective_rank": effective_rank(x),
        "dead_share": dead_share(x),
        "never_positive_share": never_positive_share(x),
        "knn_track": float(retrieval.leakage(x, track, alone).nanmean()),
    }
    if len(identity.unique()) > 1:
        found["knn_identity"] = float(retrieval.leakage(x, identity, video).nanmean())
    return {name: value for name, value in found.items() if math.isfinite(value)}


def effective_rank(x: Tensor) -> float:
    """Number of directions over which standardised embeddings (N, D) spread, between 1 and the smaller of N - 1 and D.

    exp(-sum p_i log p_i), where p_i is the share of the i-th eigenvalue of the correlation matrix in their sum: the
    effective rank of Roy and Vetterli (2007) with variances in place of singular values, so that noise along many
    directions counts little. Dead dimensions are left out; it is 1 if all are dead.
    """
    spread, is_dead = _spread(x)
    if is_dead.all():
        return 1.0
    z = ((x - x.mean(0)) / spread)[:, ~is_dead]
    gram = z @ z.T if len(z) < z.shape[1] else z.T @ z  # the smaller one has all eigenvalues that are not 0
    share = torch.linalg.eigvalsh(gram).clamp_min(0)
    share = share / share.sum()
    return float(torch.special.entr(share).sum().exp())


def dead_share(x: Tensor) -> float:
    """Share of the dimensions of (N, D) with almost no variance, see DEAD_SPREAD."""
    return float(_spread(x)[1].double().mean())


def never_positive_share(x: Tensor) -> float:
    """Share of the dimensions of (N, D) that are positive for no frame.

    A decoder that begins with a ReLU, as the paper's does, gives them no gradient.
    """
    return float((x <= 0).all(0).double().mean())


def still_share(batches: Iterable[Tensor], track: Tensor) -> float:
    """Share of the tracks (N,) whose frames are all the same picture; batches (B, 3, S, S) in [0, 1] of N frames."""
    first: dict[int, Tensor] = {}
    moves: dict[int, bool] = {}
    frames = (frame for batch in batches for frame in batch)
    for code, frame in zip(track.tolist(), frames, strict=True):
        if code in first:
            moves[code] = moves.get(code, False) or bool((frame - first[code]).abs().max() > SAME)
        else:
            first[code] = frame
    return 1 - sum(moves.values()) / len(moves) if moves else 0.0


def still(found: Mapping[str, float]) -> str | None:
    """What is wrong with tracks of which so many stand still, in one clause; None if nothing is."""
    share = found.get("still_share", 0.0)
    if share <= MOST_STILL:
        return None
    return (
        f"all frames are the same picture in {share:.0%} of the watched tracks, more than {MOST_STILL:.0%}, "
        "so there is no movement to learn from"
    )


def loss_problem(first: float | None, train: Sequence[float], val: Sequence[float]) -> str | None:
    """What is wrong with the losses of a training so far, in one clause with what to do; None if nothing is.

    Args:
        first: the training loss of the first step; None if it is not known.
        train: that of every epoch, at least one.
        val: the validation loss of every epoch.
    """
    if abs(train[-1]) < VANISHED:
        return (
            f"the training loss is {train[-1]:.2g}, so nothing is left to learn: see whether the frames are all alike"
        )
    for name, losses in (("training", train if first is None else [first, *train]), ("validation", val)):
        lowest, last = min(losses), losses[-1]
        if lowest > 0 and last > EXPLODED * lowest:
            return (
                f"the {name} loss is {last:.4g}, {last / lowest:,.0f} times its lowest, {lowest:.4g}: lower pretrain.lr"
            )
    return None


def rank_problem(found: Mapping[str, float]) -> str | None:
    """Why embeddings with these measures vary along too few directions, in one clause; None if they do not."""
    least = min(LEAST_RANK, (found["watched_frames"] - 1) / 4)  # few frames cannot have more
    if found["effective_rank"] < least:
        return f"the effective rank is {found['effective_rank']:.1f}, below {least:g}"
    return None


def problem(found: Mapping[str, float]) -> str | None:
    """Why an embedding with these measures counts as collapsed, in one clause; None if it does not.

    Of embeddings that are not of a training, `never_positive_share` may be missing.
    """
    if clause := rank_problem(found):
        return clause
    if found["dead_share"] > MOST_DEAD:
        return f"{found['dead_share']:.0%} of the dimensions have almost no variance, more than {MOST_DEAD:.0%}"
    if found.get("never_positive_share", 0.0) > MOST_NEVER_POSITIVE:
        return (
            f"{found['never_positive_share']:.0%} of the dimensions are never positive, "
            f"more than {MOST_NEVER_POSITIVE:.0%}"
        )
    return None


def _spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviation (D,) of each dimension, and whether it is dead (D,)."""
    spread = x.std(0, correction=0)
    return spread, spread <= DEAD_SPREAD * x.square().mean().sqrt()
