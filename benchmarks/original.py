"""The original's way of working in today's PyTorch, which ours is compared with; PyTorch, NumPy and Pillow suffice.

For every sample a process of a DataLoader decodes the owner's frames of 224 px and scales, pads, cuts, cuts at random
and scales them by PIL; `crop` does the first three of these once. A step calls the encoder once for each view, runs the
confidence decoder, which a single source does not need, and reads its loss. Float32, channels first.
"""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fabnet.modules.losses import photometric
from fabnet.modules.model import FAbNet
from fabnet.modules.warp import warp

SCALE_PX, PAD_LTRB_PX, CENTRE_PX = 256, (20, 80, 20, 30), 190  # VoxCeleb2
JITTER_PX = (170, 190)


def prepared(picture: bytes, size_px: int, rng: np.random.Generator) -> Tensor:
    """An owner's JPEG as the network's input, (3, size_px, size_px) in [0, 1]."""
    image = _square(_centre(picture), int(rng.integers(JITTER_PX[0], JITTER_PX[1] + 1)), *rng.random(2))
    image = image.resize((size_px, size_px), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


def stored(picture: bytes) -> bytes:
    """What `crop` keeps of an owner's JPEG, cut by PIL."""
    file = io.BytesIO()
    _centre(picture).save(file, "jpeg", quality=95)
    return file.getvalue()


def _centre(picture: bytes) -> Image.Image:
    with Image.open(io.BytesIO(picture)) as file:
        image = file.convert("RGB").resize((SCALE_PX, SCALE_PX), Image.Resampling.BILINEAR)
    return _square(ImageOps.expand(image, PAD_LTRB_PX), CENTRE_PX, 0.5, 0.5)


def _square(image: Image.Image, side: int, across: float, down: float) -> Image.Image:
    x, y = round(across * (image.width - side)), round(down * (image.height - side))
    return image.crop((x, y, x + side, y + side))


class Pairs(Dataset[Tensor]):
    """Two frames of a track, of which there are `per_track` in a row, (2, 3, size_px, size_px)."""

    def __init__(self, pictures: Sequence[bytes], per_track: int, size_px: int) -> None:
        self.pictures, self.per_track, self.size_px = pictures, per_track, size_px

    def __len__(self) -> int:
        """Enough for any benchmark."""
        return 10**6

    def __getitem__(self, sample: int) -> Tensor:
        """A pair of another track each time."""
        rng = np.random.default_rng(sample)
        first = self.per_track * (sample % (len(self.pictures) // self.per_track))
        rows = first + rng.choice(self.per_track, 2, replace=False)
        return torch.stack([prepared(self.pictures[row], self.size_px, rng) for row in rows])


def batches(pairs: Pairs, batch: int, device: torch.device, workers: int) -> Iterator[Tensor]:
    """Batches (batch, 2, 3, S, S) on the device, from worker processes."""
    loader = DataLoader(pairs, batch, num_workers=workers, pin_memory=device.type == "cuda")
    for frames in loader:
        yield frames.to(device, non_blocking=True)


def loss(net: FAbNet, frames: Tensor) -> Tensor:
    """Of frames (B, 2, 3, S, S), target first; the softmax of the confidence of one source is 1."""
    target, source = frames.unbind(1)
    pair = torch.cat([net.encoder(view) for view in (source, target)], dim=1)
    warped, confidence = warp(source, net.sampler(pair)), net.confidence(pair)
    weight = confidence[:, None].softmax(dim=1)
    return photometric((weight * warped[:, None]).sum(dim=1), target).mean()


class Training:
    """The network and its optimiser; `losses` are those of the steps so far."""

    def __init__(self, *, size_px: int, width: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.net = FAbNet(size_px=size_px, width=width, embedding=256, with_confidence=True).to(device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-4)
        self.losses: list[float] = []

    def step(self, frames: Tensor) -> None:
        """One step on frames (B, 2, 3, S, S)."""
        value = loss(self.net, frames)
        self.optimiser.zero_grad()
        value.backward()
        self.optimiser.step()
        self.losses.append(value.item())
