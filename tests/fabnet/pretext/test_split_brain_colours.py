import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fabnet.pretext.split_brain import to_lab

# IEC 61966-2-1, with the six digits that OpenCV documents
SRGB = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
WHITE = [0.950456, 1.0, 1.088754]


def slow_lab(rgb: list[float]) -> list[float]:
    """One colour, step by step."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb]
    responses: list[float] = []
    for row, white in zip(SRGB, WHITE, strict=True):
        share = sum(weight * value for weight, value in zip(row, linear, strict=True)) / white
        responses.append(share ** (1 / 3) if share > 216 / 24389 else (24389 / 27 * share + 16) / 116)
    x, y, z = responses
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def noise(dtype: torch.dtype) -> Tensor:
    """Bright and nearly black colours."""
    pixels = torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.cat([pixels, pixels / 20]).to(dtype)


def one(rgb: list[float]) -> list[float]:
    return to_lab(torch.tensor(rgb, dtype=torch.float64)[None, :, None, None]).flatten().tolist()


def test_agrees_with_a_slow_reference():
    given = noise(torch.float64)
    lab = to_lab(given).permute(0, 2, 3, 1).reshape(-1, 3)
    expected = [slow_lab(rgb) for rgb in given.permute(0, 2, 3, 1).reshape(-1, 3).tolist()]
    assert torch.allclose(lab, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("code", "is_linear", "at_most"),
    [(cv2.COLOR_RGB2Lab, False, 0.6), (cv2.COLOR_LRGB2Lab, True, 0.03)],
    ids=["interpolated between a table's entries", "calculated"],
)
def test_agrees_with_opencv(code: int, is_linear: bool, at_most: float):
    given = noise(torch.float32)
    linear = torch.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    for image, lab in zip(linear if is_linear else given, to_lab(given), strict=True):
        opencv = cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), code)
        assert np.abs(lab.permute(1, 2, 0).numpy() - opencv).max() < at_most


@pytest.mark.parametrize(("grey", "lightness"), [(0.0, 0.0), (0.4663266, 50.0), (1.0, 100.0)])
def test_greys_have_no_colour(grey: float, lightness: float):
    assert one([grey] * 3) == pytest.approx([lightness, 0, 0], abs=1e-4)


def test_all_of_srgb_lies_in_the_stated_range():
    axis = torch.linspace(0, 1, 33)
    lab = to_lab(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(1, 3, 33, -1))
    low, high = lab.amin(dim=(0, 2, 3)), lab.amax(dim=(0, 2, 3))
    assert (low >= torch.tensor([-1e-4, -87, -108])).all()
    assert (high <= torch.tensor([100.0001, 99, 95])).all()


def test_float32_agrees_with_float64():
    assert torch.allclose(to_lab(noise(torch.float32)).double(), to_lab(noise(torch.float64)), rtol=0, atol=1e-3)
