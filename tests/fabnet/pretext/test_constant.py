import numpy as np
import pytest
import torch
from torch import Tensor

from fabnet.metrics import best_threshold
from fabnet.pretext import constant
from fabnet.probe_head import Samples, Settings
from fabnet.probes import action_units, classes, points, pose

SWEEP = Settings(l2=[1e-4, 1e-2, 1.0], max_iter=100, neighbours=5)


def embedded(count: int, dims: int = 16) -> Tensor:
    encoder = constant.build(constant.Params(dims), size_px=32).encoder
    return encoder(torch.rand(count, 3, 32, 32)).double()


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_every_image_has_the_same_embedding():
    assert torch.equal(embedded(3), torch.zeros(3, 16, dtype=torch.float64))


def test_it_has_no_weights():
    assert not constant.build(constant.Params(16), size_px=64).state_dict()


@pytest.mark.parametrize("value", [0.0, 7.3])
@pytest.mark.parametrize("probe", [points, pose])
def test_regression_probes_predict_the_training_mean(probe, value: float):
    y = 0.3 * noise(200, 136, seed=1) + noise(136, seed=2)
    fitted = probe.fit(Samples(embedded(200) + value, y), Samples(embedded(50) + value, y[:50] + 1), SWEEP)
    predicted = fitted.predict(embedded(5) + value)
    assert predicted.numpy() == pytest.approx(y.mean(0).expand(5, -1).numpy(), abs=1e-4)


def test_the_class_probe_predicts_the_shares_and_so_the_majority():
    labels = np.array([0] * 20 + [1] * 120 + [2] * 60)
    y = torch.from_numpy(classes.encode(labels, None, 8))  # pyright: ignore[reportArgumentType]  (crops are not used)
    scores = classes.fit(Samples(embedded(200), y), Samples(embedded(200), y), SWEEP).predict(embedded(3))
    assert scores[:, :3].numpy() == pytest.approx(np.tile([0.1, 0.6, 0.3], (3, 1)), abs=1e-4)
    assert (scores[:, 3:] < 1e-3).all()
    assert (scores.argmax(1) == 1).all()


def test_the_action_unit_probe_predicts_a_unit_for_all_or_none():
    y = (noise(300, 4, seed=3) > 0.5).double()
    y[:50, 2] = action_units.UNKNOWN
    val = y[:100]
    scores = action_units.fit(Samples(embedded(300), y), Samples(embedded(100), val), SWEEP).predict(embedded(9))
    assert scores.isfinite().all()
    assert torch.equal(scores, scores[:1].expand(9, -1))
    # all present gives a better F1 than none present
    assert best_threshold(val[:, 0].numpy() > 0.5, np.full(100, 0.3)) <= 0.3
    assert (scores > 0.5 - 1e-6).all()
