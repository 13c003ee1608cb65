import numpy as np
import pytest
import torch
from torch import Tensor

from fabnet.training import health

CODES = torch.arange(12)
PAIRS = CODES // 2  # two frames of each track
HEALTHY = {"watched_frames": 100.0, "effective_rank": 12.0, "dead_share": 0.0, "never_positive_share": 0.4}


def noise(samples: int, dims: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(x: Tensor) -> dict[str, float]:
    return health.measures(x, PAIRS, PAIRS // 2, PAIRS)


def plain_rank(x: np.ndarray) -> float:
    """By the correlation matrix of the dimensions that vary."""
    values = np.linalg.eigvalsh(np.corrcoef(x[:, x.std(0) > 0].T))
    shares = values[values > 1e-12] / values.sum()
    return float(np.exp(-sum(share * np.log(share) for share in shares)))


@pytest.mark.parametrize(("samples", "dims"), [(200, 8), (40, 40), (12, 60)])
def test_the_effective_rank_is_that_of_the_correlation_matrix(samples: int, dims: int):
    x = noise(samples, dims) @ noise(dims, dims, 1) + 5
    x[:, 2] = 3.0  # varies not at all
    assert health.effective_rank(x) == pytest.approx(plain_rank(x.numpy()))


def test_independent_dimensions_have_full_rank_whatever_their_scale():
    x = torch.linalg.qr(noise(100, 9) - noise(100, 9).mean(0))[0] * torch.logspace(0, 1, 9, dtype=torch.float64)
    assert health.effective_rank(x) == pytest.approx(9, rel=1e-6)


def test_copies_of_one_dimension_have_rank_one():
    assert health.effective_rank(noise(50, 1) * torch.linspace(1, 2, 6, dtype=torch.float64)) == pytest.approx(1)


def test_the_rank_is_bounded_by_the_frames():
    rank = health.effective_rank(noise(12, 400))
    assert 9 < rank <= 11 + 1e-9


@pytest.mark.parametrize("value", [0.0, 7.3, -1e6])
def test_embeddings_that_are_all_equal_have_rank_one_and_chance_neighbours(value: float):
    found = measured(torch.full((12, 5), value))
    assert (found["effective_rank"], found["dead_share"]) == (1.0, 1.0)
    assert found["knn_track"] == pytest.approx(1 / 11)
    assert all(np.isfinite(list(found.values())))


def test_a_spread_of_rounding_errors_counts_as_dead():
    found = measured((7.3 + 1e-6 * noise(12, 5)).float())
    assert (found["effective_rank"], found["dead_share"]) == (1.0, 1.0)


def test_both_kinds_of_dead_dimensions_are_counted():
    x = noise(12, 8)
    x[:, 0] = 1.0  # no variance
    x[:, 1:3] = -x[:, 1:3].abs()  # never positive
    found = measured(x)
    assert (found["dead_share"], found["never_positive_share"]) == (1 / 8, 2 / 8)


def test_neighbours_of_the_own_track_are_counted():
    x = torch.eye(6, 30, dtype=torch.float64)[PAIRS] + 1e-3 * noise(12, 30)
    x[0], x[2] = x[2].clone(), x[0].clone()  # frames of tracks 0 and 1 change places
    assert measured(x)["knn_track"] == pytest.approx(8 / 12)


@pytest.mark.parametrize("identity", [PAIRS, torch.zeros_like(PAIRS)])
def test_one_identity_or_none_with_two_videos_leaves_the_identity_out(identity: Tensor):
    assert "knn_identity" not in health.measures(noise(12, 5), PAIRS, identity, PAIRS)


def test_the_nearest_frame_of_another_video_shows_the_same_identity_or_not():
    x = torch.eye(3, 30, dtype=torch.float64)[PAIRS // 2] + 1e-3 * noise(12, 30)
    assert measured(x)["knn_identity"] == 1.0
    assert measured(x)["watched_frames"] == 12


@pytest.mark.parametrize(
    ("changed", "clause"),
    [
        ({}, None),
        ({"effective_rank": 2.94}, "the effective rank is 2.9, below 3"),
        ({"effective_rank": 1.6, "watched_frames": 9}, "the effective rank is 1.6, below 2"),
        ({"effective_rank": 2.1, "watched_frames": 9}, None),
        ({"dead_share": 0.6}, "60% of the dimensions have almost no variance, more than 50%"),
        ({"never_positive_share": 0.8}, "80% of the dimensions are never positive, more than 75%"),
    ],
)
def test_a_collapsed_embedding_is_told_in_one_clause(changed: dict[str, float], clause: str | None):
    assert health.problem({**HEALTHY, **changed}) == clause


def test_tracks_that_stand_still_are_counted():
    frames = torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    frames[1:4:2] = frames[0:4:2]  # the second frames of tracks 0 and 1
    frames[3, 0, 0, 0] += 1 / 255  # no more than rounding
    assert health.still_share(frames.split(5), PAIRS) == pytest.approx(2 / 6)
    assert health.still({"still_share": 0.5}) is None
    clause = health.still({"still_share": 0.51})
    assert clause == (
        "all frames are the same picture in 51% of the watched tracks, more than 50%, so there is no movement to "
        "learn from"
    )


@pytest.mark.parametrize(
    ("first", "train", "val", "clause"),
    [
        (0.13, [0.12, 0.1], [0.1, 0.9], None),  # a validation loss that rises ninefold: it overfits
        (0.1, [0.99], [0.99], None),
        (None, [0.4, 0.3], [0.3, 0.3], None),
        (-3.0, [-2.0, -0.1], [-2.0, -0.1], None),  # a loss that may be negative has no ratio
        (3e-8, [3e-8], [3e-8], "the training loss is 3e-08, so nothing is left to learn: "
         "see whether the frames are all alike"),
        (0.5, [0.2, 0.0], [0.2, 0.1], "the training loss is 0, so nothing is left to learn: "
         "see whether the frames are all alike"),
        (0.13, [41.2], [0.1], "the training loss is 41.2, 317 times its lowest, 0.13: lower pretrain.lr"),
        (0.13, [0.1, 0.2], [0.1, 5e4], "the validation loss is 5e+04, 500,000 times its lowest, 0.1: "
         "lower pretrain.lr"),
    ],
)  # fmt: skip
def test_losses_that_vanish_or_explode_are_told(
    first: float | None, train: list[float], val: list[float], clause: str | None
):
    assert health.loss_problem(first, train, val) == clause
