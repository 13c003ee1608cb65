import inspect
from types import ModuleType

import numpy as np
import pytest
import torch

from fabnet.probe_head import Crops, Samples, Settings
from stages.runtime import plugins

MODULES = [plugins.load("fabnet.probes", name) for name in plugins.names("fabnet.probes")]
CROPS = Crops(size_px=np.full((30, 2), 256.0), source_xyxy_px=np.tile([10.0, 20.0, 138.0, 148.0], (30, 1)))

HEAD = {"0.weight", "0.bias", "0.running_mean", "0.running_var", "1.weight"}


def samples(seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(30, 8, generator=generator, dtype=torch.float64)
    return Samples(x, (x[:, :4] > 0).double())


@pytest.mark.parametrize("module", MODULES)
def test_a_probe_is_fitted_on_the_training_and_validation_splits_only(module: ModuleType):
    assert list(inspect.signature(module.fit).parameters) == ["train", "val", "params"]


@pytest.mark.parametrize("module", MODULES)
def test_a_probe_predicts_finite_numbers_and_exports_its_head_in_the_released_layout(module: ModuleType):
    probe = module.fit(samples(1), samples(2), Settings([1e-2, 1.0], 20, 3))
    assert probe.predict(samples(3).x).shape == (30, 4)
    assert probe.predict(samples(3).x).isfinite().all()
    assert set(probe.state()) == (HEAD if probe.tried else set())
    assert (probe.l2 in probe.tried) == bool(probe.tried)
    assert all(value.dtype == torch.float32 for value in probe.state().values())


@pytest.mark.parametrize("module", MODULES)
def test_decoding_keeps_one_row_per_image(module: ModuleType):
    y = np.random.default_rng(1).uniform(-1, 1, (30, 4))
    assert module.decode(y, CROPS).shape == y.shape
