import pytest
import torch

from fabnet.modules import devices


def test_auto_leaves_out_a_device_without_float64(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "device", lambda name: torch.device({"auto": "mps"}.get(name, name)))
    assert devices.exact("auto") == torch.device("cpu")
    assert devices.exact("cuda") == torch.device("cuda")
