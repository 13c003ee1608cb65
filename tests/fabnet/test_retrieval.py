import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from fabnet import retrieval
from fabnet.retrieval import Neighbours


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def one_hot(count: int, classes: int = 3) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[torch.arange(count) % classes]


def test_shares_agree_with_a_loop_over_queries():
    gallery, y, queries = noise(40, 6, seed=1) + 2, one_hot(40), noise(15, 6, seed=2) + 2
    centre = gallery.mean(0)
    similarity = cosine_similarity(queries - centre, gallery - centre)
    expected = [y[np.argsort(-row, kind="stable")[:7].copy()].mean(0).tolist() for row in similarity]
    assert Neighbours(gallery, y, 7).predict(queries).tolist() == [pytest.approx(row) for row in expected]


def test_a_large_constant_in_every_embedding_changes_nothing():
    # an untrained encoder: all embeddings point the same way until their mean is subtracted
    gallery, y, queries = noise(60, 8, seed=1), one_hot(60), noise(20, 8, seed=2)
    plain = Neighbours(gallery, y, 5).predict(queries)
    moved = Neighbours(1e-3 * gallery + 40, y, 5).predict(1e-3 * queries + 40)
    assert torch.equal(plain, moved)
    is_same = cosine_similarity(1e-3 * queries + 40, 1e-3 * gallery + 40) > 1 - 1e-6
    assert is_same.all()


def test_clustered_images_of_a_class_are_neighbours():
    y = one_hot(60)
    probe = Neighbours(y @ noise(3, 8, seed=1) + 0.01 * noise(60, 8, seed=2), y, 5)
    assert torch.equal(probe.predict(y[:9] @ noise(3, 8, seed=1)), y[:9])


def test_a_constant_embedding_gives_each_class_its_share_of_the_gallery():
    gallery = torch.full((10, 4), 0.1, dtype=torch.float64)
    y = torch.eye(2, dtype=torch.float64)[[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]]
    found = Neighbours(gallery, y, 3).predict(gallery[:2])
    assert found.tolist() == [pytest.approx([0.7, 0.3])] * 2


def test_ties_for_the_last_rank_share_it():
    similarity = torch.tensor([[0.9, 0.5, 0.5, 0.1], [0.2, -torch.inf, -torch.inf, 0.8], [-torch.inf] * 4])
    weights = retrieval.nearest(similarity.double(), 2)
    assert weights.tolist() == [[0.5, 0.25, 0.25, 0], [0.5, 0, 0, 0.5], [0, 0, 0, 0]]


def test_a_gallery_smaller_than_the_count_is_used_whole():
    assert retrieval.nearest(noise(3, 4, seed=1), 9).tolist() == [[0.25] * 4] * 3


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    gallery, y, queries = noise(40, 6, seed=1), one_hot(40), noise(15, 6, seed=2)
    identity, video = torch.arange(40) // 8, torch.arange(40) // 4
    whole = Neighbours(gallery, y, 5).predict(queries), retrieval.leakage(gallery, identity, video)
    monkeypatch.setattr(retrieval, "CELLS_PER_BLOCK", 90)
    parted = Neighbours(gallery, y, 5).predict(queries), retrieval.leakage(gallery, identity, video)
    for one, other in zip(whole, parted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_leakage_agrees_with_a_loop_over_frames():
    x, identity, video = noise(48, 5, seed=3), torch.arange(48) // 12, torch.arange(48) // 4
    z = x - x.mean(0)
    for n, found in enumerate(retrieval.leakage(x, identity, video).tolist()):
        others = [m for m in range(48) if video[m] != video[n]]
        best = max(others, key=lambda m: torch.cosine_similarity(z[n], z[m], dim=0).item())
        assert found == float(identity[best] == identity[n])


def test_an_embedding_of_the_identity_leaks_and_an_embedding_of_the_video_does_not():
    identity, video = torch.arange(240) // 12, torch.arange(240) // 4
    of_identity, of_video = noise(20, 8, seed=1)[identity], noise(60, 8, seed=2)[video]
    small = 0.01 * noise(240, 8, seed=3)
    assert retrieval.leakage(of_identity + small, identity, video).mean() == 1
    assert retrieval.leakage(of_video + small, identity, video).mean() < 0.2


def test_an_identity_of_one_video_has_no_leakage():
    found = retrieval.leakage(noise(6, 4, seed=1), torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert found[:4].isfinite().all()
    assert found[4:].isnan().all()
