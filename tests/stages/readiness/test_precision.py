"""A precision is told where it makes training slow, and nowhere else."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipelines import profile
from stages.readiness import precision
from stages.runtime import config
from stages.runtime.params import PretrainParams
from stages.training import models

ROOT = Path(__file__).parents[3]
PRETRAIN = config.parsed(profile.text("sample", ROOT / "profiles"), "sample").pretrain


def with_values(**values: str) -> PretrainParams:
    return PRETRAIN.model_validate(PRETRAIN.model_dump() | values)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_bfloat16_is_told_on_a_processor_without_it(device: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    sentence = precision.slow(with_values(precision="bfloat16", device=device))
    assert "pretrain.precision bfloat16 is slow on this processor" in sentence
    assert "set it to float32" in sentence
    assert not precision.slow(with_values(precision="float32", device=device))


def test_nothing_is_told_on_a_gpu_or_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    assert not precision.slow(with_values(precision="bfloat16", device="cuda"))
    monkeypatch.setattr(models, "device", lambda name: torch.device("cuda"))
    assert not precision.slow(with_values(precision="bfloat16", device="auto"))
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    assert not precision.slow(with_values(precision="bfloat16", device="cpu"))


def test_a_build_that_cannot_tell_is_not_called_slow(monkeypatch: pytest.MonkeyPatch):
    assert isinstance(precision.has_bfloat16(), bool)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    assert precision.has_bfloat16()
