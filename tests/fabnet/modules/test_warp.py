import math

import numpy as np
import pytest
import torch

from fabnet.modules.warp import identity_grid, warp


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """(C, H, W) at pixel (x, y), counted between the centres of the corner pixels."""
    height, width = image.shape[1:]
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    right, low = x - left, y - top
    rows = (1 - low) * image[:, top] + low * image[:, top + 1]
    return (1 - right) * rows[:, left] + right * rows[:, left + 1]


def slow_warp(source: np.ndarray, flow: np.ndarray) -> np.ndarray:
    result = np.zeros((len(source), source.shape[1], *flow.shape[2:]))
    height, width = flow.shape[2:]
    for sample, row, column in np.ndindex(len(source), height, width):
        across = -1 + 2 * column / (width - 1) + flow[sample, 0, row, column]
        down = -1 + 2 * row / (height - 1) + flow[sample, 1, row, column]
        x = (min(max(across, -1), 1) + 1) / 2 * (width - 1)
        y = (min(max(down, -1), 1) + 1) / 2 * (height - 1)
        result[sample, :, row, column] = bilinear(source[sample], x, y)
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_flow_returns_the_source_frame(dtype: torch.dtype):
    source = noise(2, 3, 32, 32).to(dtype)
    assert torch.allclose(warp(source, torch.zeros(2, 2, 32, 32, dtype=dtype)), source, atol=1e-5)


def test_a_half_precision_flow_of_zero_returns_the_source_frame():
    source = noise(1, 3, 256, 256).float()
    assert torch.allclose(warp(source, torch.zeros(1, 2, 256, 256, dtype=torch.float16)), source, atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (5, 9)])
def test_agrees_with_a_slow_sampler(size: tuple[int, int]):
    source, flow = noise(2, 3, *size), 3 * noise(2, 2, *size, seed=1) - 1.5
    assert warp(source, flow).numpy() == pytest.approx(slow_warp(source.numpy(), flow.numpy()))


def test_flow_of_one_pixel_in_x_shifts_to_the_left():
    source, flow = noise(1, 3, 4, 4), torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    flow[:, 0] = 2 / 3
    assert torch.allclose(warp(source, flow)[..., :3], source[..., 1:])
    assert torch.allclose(warp(source, flow)[..., 3], source[..., 3])


def test_the_identity_grid_runs_from_corner_to_corner_in_x_then_y():
    grid = identity_grid(3, 5, torch.zeros(()))
    assert grid[0, :, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert grid[:, 0, 1].tolist() == [-1, 0, 1]


def test_the_gradient_is_zero_exactly_where_the_position_was_clamped():
    flow = torch.full((1, 2, 6, 6), 0.3, dtype=torch.float64, requires_grad=True)
    warp(noise(1, 1, 6, 6), flow).sum().backward()
    left_the_frame = identity_grid(6, 6, flow.detach()).permute(2, 0, 1) + 0.3 > 1
    assert flow.grad is not None
    assert torch.equal(flow.grad[0] == 0, left_the_frame)
    assert math.isfinite(flow.grad.abs().sum())
