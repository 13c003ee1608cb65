import pytest
import torch

from fabnet.modules.losses import photometric


def test_the_loss_of_a_sample_is_its_mean_absolute_difference():
    target = torch.zeros(2, 3, 4, 4)
    reconstruction = torch.stack([torch.full((3, 4, 4), 0.25), torch.full((3, 4, 4), -0.5)])
    assert photometric(reconstruction, target).tolist() == [0.25, 0.5]


def test_matches_a_loop():
    one, other = torch.rand(2, 5, 3, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    expected = [float((a - b).abs().mean()) for a, b in zip(one, other, strict=True)]
    assert photometric(one, other).tolist() == pytest.approx(expected)
