import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fabnet.pretext import pca


def frames(count: int, size_px: int = 16, *, seed: int = 0) -> Tensor:
    """(count, 1, 3, S, S) in [0, 1], blurred, so that variances fall."""
    rough = torch.rand(count, 3, size_px, size_px, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(rough, 3, stride=1, padding=1)[:, None]


def solved(batches: list[Tensor], *, embedding: int = 10, side_px: int = 8, limit: int = 1000) -> pca.Components:
    net = pca.build(pca.Params(embedding, side_px, limit), size_px=batches[0].shape[-1])
    net.solve(batches)
    return net.encoder  # pyright: ignore[reportReturnType]


def pixels(x: Tensor, side_px: int = 8) -> np.ndarray:
    return F.avg_pool2d(x[:, 0], x.shape[-1] // side_px).flatten(1).double().numpy()


@pytest.mark.parametrize("count", [60, 400])  # fewer and more frames than the 192 pixel values
def test_components_and_scores_agree_with_scikit_learn(count: int):
    x, new = frames(count), frames(7, seed=1)
    encoder = solved(list(x.split(25)))
    reference = PCA(10, svd_solver="full").fit(pixels(x))
    assert encoder.mean.numpy() == pytest.approx(reference.mean_, abs=1e-6)
    signs = np.sign((encoder.axes.numpy() * reference.components_).sum(1))
    assert encoder.axes.numpy() == pytest.approx(reference.components_ * signs[:, None], abs=1e-5)
    assert encoder(new[:, 0]).numpy() == pytest.approx(reference.transform(pixels(new)) * signs, abs=1e-5)


def test_the_largest_weight_of_a_component_is_positive():
    axes = solved([frames(60)]).axes
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_components_beyond_the_rank_are_zeros():
    encoder = solved([frames(5)])
    assert encoder.axes[4:].abs().max() == 0  # 5 centred frames span 4 dimensions
    assert encoder.axes[:4].norm(dim=1).numpy() == pytest.approx(np.ones(4), abs=1e-5)


def test_frames_without_any_difference_give_zeros():
    encoder = solved([frames(1).expand(6, -1, -1, -1, -1)])
    assert encoder(frames(3, seed=1)[:, 0]).abs().max() == 0


def test_frames_beyond_the_limit_are_neither_used_nor_drawn():
    x = frames(60)

    def batches():
        yield from x[:40].split(20)
        raise AssertionError("a batch too many was asked for")

    net = pca.build(pca.Params(10, 8, 30), size_px=16)
    net.solve(batches())
    expected = solved([x[:30]])
    assert torch.equal(net.encoder.axes, expected.axes)
    assert torch.equal(net.encoder.mean, expected.mean)


def test_the_batch_size_does_not_matter():
    x = frames(60)
    assert torch.equal(solved([x]).axes, solved(list(x.split(7))).axes)


def test_a_smaller_input_is_not_enlarged():
    assert solved([frames(9, 16)], side_px=32).axes.shape == (10, 3 * 16**2)


def test_the_loss_is_the_unexplained_variance():
    x = frames(60)
    net = pca.build(pca.Params(10, 8, 100), size_px=16)
    net.solve([x])
    reference = PCA(10, svd_solver="full").fit(pixels(x))
    rest = np.square(pixels(x) - reference.inverse_transform(reference.transform(pixels(x)))).mean()
    assert net.losses(x)["loss"].item() == pytest.approx(rest, rel=1e-4)


def test_settings_below_one_are_a_problem():
    assert pca.problem(pca.Params(256, 32, 8192)) is None
    assert pca.problem(pca.Params(256, 0, 8192)) == "side_px should be at least 1, found 0"
