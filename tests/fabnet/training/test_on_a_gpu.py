"""Loading and training on a GPU give what they give on a CPU, but for rounding."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabnet.modules.frame_choice import Choice
from fabnet.pretext import fabnet
from fabnet.training import pairs, train

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SETTINGS = train.Settings("adam", 1e-3, 0.9, 0.0, 4, plateau_factor=0.1, plateau_patience=2, fused=True)
TRACKS = pairs.Tracks.of(np.arange(6), np.arange(6), 5 * np.arange(6), np.full(6, 5))

pytestmark = pytest.mark.gpu


def frame(row: int) -> NDArray[np.uint8]:
    """(48, 48, 3), smooth."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(row))
    image = nn.functional.interpolate(coarse, (48, 48), mode="bilinear")[0].permute(1, 2, 0)
    return (255 * image).byte().numpy()


def batches(device: torch.device, seed: int = 0, size_px: int = 32) -> list[Tensor]:
    sizes, jitter_px = np.full((30, 2), 48), np.tile([36, 44], (30, 1))
    drawn = pairs.draw(
        TRACKS, sizes, jitter_px, choice=Choice(2), draws_per_identity=4, rng=np.random.default_rng(seed)
    )
    return list(pairs.batches(drawn, frame, batch=4, size_px=size_px, device=device, workers=3))


def trainer(device: torch.device, seed: int = 0, **changes: object) -> train.Trainer:
    torch.manual_seed(seed)
    method = fabnet.build(fabnet.Params(width=4, embedding=8), size_px=32)
    return train.Trainer(method, replace(SETTINGS, **changes), device=device)


def losses(one: train.Trainer) -> list[float]:
    data = [frames.to(one.device) for frames in batches(CPU)]
    return [epoch.train["loss"] for epoch in one.epochs(lambda _, done: data[done:], lambda: data, lambda: None)]


@pytest.mark.parametrize("size_px", [32, 64])
def test_batches_of_a_gpu_are_those_of_a_cpu(size_px: int):
    here, there = batches(CPU, size_px=size_px), batches(GPU, size_px=size_px)
    assert len(here) == len(there) == 6
    for ours, theirs in zip(there, here, strict=True):
        assert ours.device.type == "cuda"
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=1e-3)


def test_a_gpu_learns_as_a_cpu_does():
    assert losses(trainer(GPU)) == pytest.approx(losses(trainer(CPU)), rel=1e-2)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_training_that_stopped_within_an_epoch_goes_on_as_if_it_had_not(precision: str):
    file, data = io.BytesIO(), batches(GPU)
    first, second = trainer(GPU, precision=precision), trainer(GPU, seed=9, precision=precision)

    def save() -> None:
        if first.steps == len(data) + 2:
            torch.save(first.state(), file)

    expected = list(first.epochs(lambda _, done: data[done:], lambda: data, save))
    second.restore(torch.load(io.BytesIO(file.getvalue()), map_location="cpu", weights_only=True))
    assert (second.epoch, second.steps, second.begun) == (1, len(data) + 2, 2)
    found = list(second.epochs(lambda _, done: data[done:], lambda: data, lambda: None))
    for ours, theirs in zip(found, expected[1:], strict=True):
        assert (ours.number, ours.steps) == (theirs.number, theirs.steps)
        assert ours.train == pytest.approx(theirs.train, rel=2e-3)
        assert ours.val == pytest.approx(theirs.val, rel=2e-3)
    assert second.scaler.get_scale() == first.scaler.get_scale()
