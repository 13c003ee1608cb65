import pytest
import torch

from fabnet.modules import devices


def test_auto_leaves_out_a_device_without_float64(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "device", lambda name: torch.device({"auto": "mps"}.get(name, name)))
    assert devices.exact("auto") == torch.device("cpu")
    assert devices.exact("cuda") == torch.device("cuda")


def test_tf32_comes_back_after_an_error():
    before = torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), devices.without_tf32():
        1 / 0  # noqa: B018
    assert torch.backends.cudnn.allow_tf32 == before
