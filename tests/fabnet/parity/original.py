"""The arithmetic of the authors' code, told again plainly; run as a program, it writes `original.json` beside it.

Layers stand at the positions of the released `encoder.N`, `decoder.N` and `mask.N`. A module is called once for the
target and once for each source, in training mode, the held sampler included. Everything is in double precision, and
weights and images come from a generator whose numbers never change. Nothing here uses the package that is tested.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

STORED = Path(__file__).with_suffix(".json")
SIZE_PX, WIDTH, EMBEDDING = 256, 4, 16
LR, MOMENTUM = 0.001, 0.9
DIGITS = 10  # that are stored


@dataclass(frozen=True)
class Case:
    sources: int
    batch: int
    low: float = 0.0  # shares of the sorted batch that are trained on
    high: float = 1.0


CASES = {
    "fabnet": Case(sources=1, batch=2),
    "fabnet_curriculum": Case(sources=1, batch=4, low=0.4, high=0.9),
    "fabnet_sources": Case(sources=2, batch=2),
}


class Original(nn.Module):
    """Encoder, sampler (`decoder`) and confidence decoder (`mask`)."""

    def __init__(self) -> None:
        super().__init__()
        wide = 8 * WIDTH
        self.encoder = down([3, WIDTH, 2 * WIDTH, 4 * WIDTH, wide, wide, wide, wide, EMBEDDING])
        channels = [2 * EMBEDDING, wide, wide, wide, wide, 4 * WIDTH, 2 * WIDTH, WIDTH]
        self.decoder, self.mask = up([*channels, 2]), up([*channels, 1])


def down(channels: Sequence[int]) -> nn.Sequential:
    """Halves the side with each convolution; no batch norm after the first and last one."""
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(channels)):
        layers.append(nn.Conv2d(inner, outer, kernel_size=4, stride=2, padding=1))
        if 0 < number < 7:
            layers.append(nn.BatchNorm2d(outer))
        if number < 7:
            layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers)


def up(channels: Sequence[int]) -> nn.Sequential:
    """Doubles the side before each convolution; no batch norm after the last one."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(channels):
        layers += [nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)]
        layers += [nn.Conv2d(inner, outer, kernel_size=3, padding=1), nn.BatchNorm2d(outer)]
    return nn.Sequential(*layers[:-1], nn.Tanh())


def random_state(seed: int) -> np.random.RandomState:
    return np.random.RandomState(seed)


def weights() -> dict[str, Tensor]:
    """A state dict in the released layout, without counters, as the released files."""
    draw = random_state(0)
    state: dict[str, Tensor] = {}
    for key, value in Original().state_dict().items():
        if value.ndim == 4:
            low, high = -(value[0].numel() ** -0.5), value[0].numel() ** -0.5
        elif key.endswith(("weight", "running_var")):
            low, high = 0.5, 1.5
        else:
            low, high = -0.2, 0.2
        if value.ndim:
            state[key] = torch.from_numpy(draw.uniform(low, high, tuple(value.shape)))
    return state


def frames(case: Case) -> Tensor:
    """Smooth images (B, 1 + sources, 3, S, S) in [0, 1], target first."""
    coarse = torch.from_numpy(random_state(1).uniform(0, 1, (case.batch * (1 + case.sources), 3, 9, 9)))
    smooth = F.interpolate(coarse, (SIZE_PX, SIZE_PX), mode="bilinear", align_corners=True)
    return smooth.unflatten(0, (case.batch, 1 + case.sources))


def losses(net: Original, images: Tensor) -> Tensor:
    """(B,) mean distance between the reconstruction and the target."""
    target, *sources = images.unbind(1)
    of_target = net.encoder(target)
    of_sources = [net.encoder(source) for source in sources]
    sampled, confidence = [], []
    for source, of_source in zip(sources, of_sources, strict=True):
        pair = torch.cat([of_source, of_target], dim=1)
        confidence.append(net.mask(pair).exp())
        sampled.append(look_up(source, net.decoder(pair)))
    mixed = sum(image * share for image, share in zip(sampled, confidence, strict=True)) / sum(confidence)
    return (mixed - target).abs().mean(dim=(1, 2, 3))


def look_up(source: Tensor, flow: Tensor) -> Tensor:
    line = torch.linspace(-1, 1, SIZE_PX, dtype=flow.dtype)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = (flow.permute(0, 2, 3, 1) + torch.stack([x, y], dim=2)).clamp(-1, 1)
    return F.grid_sample(source, places, align_corners=True)


def trained(case: Case) -> dict[str, Any]:
    """What a step of SGD makes of the network: losses, and how embeddings and every tensor of its state look then."""
    net, images = Original().double(), frames(case)
    net.load_state_dict(weights(), strict=False)
    held = case.sources > 1
    rates = {"encoder": LR, "mask": LR, "decoder": 0.0 if held else LR}
    groups = [{"params": getattr(net, name).parameters(), "lr": lr} for name, lr in rates.items()]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found: dict[str, Any] = {"embeddings": summary(embeddings(net, images))}
    optimiser = torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM)
    ascending = losses(net.train(), images).sort().values
    loss = ascending[int(case.low * case.batch) : int(case.high * case.batch)].mean()
    loss.backward()
    optimiser.step()
    found["loss"] = loss.item()
    found["embeddings after"] = summary(embeddings(net, images))
    with torch.no_grad():
        found["validation loss after"] = losses(net.eval(), images).mean().item()
    changed = {key: value - before[key] for key, value in net.state_dict().items()}
    return found | {"changes": {key: summary(value) for key, value in changed.items()}}


def embeddings(net: Original, images: Tensor) -> Tensor:
    with torch.no_grad():
        return net.eval().encoder(images[:, 0])


def summary(value: Tensor) -> list[float]:
    """Mean, mean size and a projection on fixed numbers: if one element differs, one of them does."""
    flat = value.detach().double().flatten()
    projection = flat @ torch.from_numpy(random_state(2).uniform(-1, 1, len(flat)))
    return [flat.mean().item(), flat.abs().mean().item(), projection.item()]


def rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value


if __name__ == "__main__":
    stored = {name: rounded(trained(case)) for name, case in CASES.items()}
    STORED.write_text(json.dumps(stored, indent=0) + "\n")
