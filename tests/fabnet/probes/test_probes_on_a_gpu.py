"""Of its own, so that it needs PyTorch and NumPy alone."""

from types import ModuleType

import pytest
import torch

from fabnet.newton import Newton
from fabnet.probe_head import Samples, Settings, standardise
from fabnet.probes import action_units, classes, neighbours, points

SETTINGS = Settings(l2=[1e-4, 1e-2, 1.0], max_iter=100, neighbours=5)


def samples(count: int, seed: int, device: str) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(count, 64, generator=generator, dtype=torch.float64) for _ in range(2))
    y = (x[:, :6] + noise[:, :6] > torch.linspace(0, 2.5, 6, dtype=torch.float64)).double()
    return Samples(x.to(device), y.to(device))


@pytest.mark.gpu
@pytest.mark.parametrize("module", [action_units, classes, neighbours, points])
def test_a_gpu_finds_the_same_probe(module: ModuleType):
    here, there = (
        module.fit(samples(3000, 0, device), samples(1000, 1, device), SETTINGS) for device in ("cpu", "cuda")
    )
    predicted = there.predict(samples(500, 2, "cuda").x)
    assert predicted.device.type == "cuda"
    assert predicted.cpu().numpy() == pytest.approx(here.predict(samples(500, 2, "cpu").x).numpy(), abs=1e-5)
    assert here.l2 == there.l2
    assert all(value.device.type == "cpu" for value in there.state().values())


@pytest.mark.gpu
def test_a_gpu_finds_the_same_optimum():
    found = []
    for device in ("cpu", "cuda"):
        train = samples(3000, 0, device)
        z, _ = standardise(train.x)
        minimum = Newton(z, train.y, action_units.known_cross_entropy, max_iter=100).minimum(1e-4).coefficients
        found.append((z @ minimum.T).cpu().numpy())
    assert found[1] == pytest.approx(found[0], abs=1e-6)
