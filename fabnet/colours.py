"""sRGB -> CIE L*a*b* with the white point D65 (IEC 61966-2-1 and CIE 15; the matrix is OpenCV's)."""

import torch
from torch import Tensor

# linear sRGB -> XYZ, rows X, Y, Z; their sums are the white point, so that greys have a = b = 0
TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)


def to_lab(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 3, H, W): L in [0, 100], a within (-87, 99), b within (-108, 95)."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = rgb.new_tensor(TO_XYZ)
    of_white = (matrix / matrix.sum(dim=1, keepdim=True))[:, :, None, None]  # (3, 3, 1, 1)
    xyz = (of_white * linear[:, None]).sum(dim=2)  # (B, 3, H, W) in [0, 1]; no product of matrices, amp would round it
    x, y, z = _response(xyz).unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _response(xyz: Tensor) -> Tensor:
    """Cube root, replaced near zero by the tangent that CIE prescribes."""
    edge = 6 / 29
    return torch.where(xyz > edge**3, xyz.clamp(min=edge**3) ** (1 / 3), xyz / (3 * edge**2) + 4 / 29)
