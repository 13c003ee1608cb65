"""A package that answers as timm does, with two small models: timm itself needs more than this project installs."""

import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

TIMM = """
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F


class ViT(nn.Module):
    def __init__(self, img_size=224, num_classes=1000):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 16, stride=16)
        self.cls_token = nn.Parameter(torch.rand(1, 1, 6))
        self.pos_embed = nn.Parameter(torch.rand(1, 1 + (img_size // 16) ** 2, 6))
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, num_classes) if num_classes else nn.Identity()
        self.pretrained_cfg = {"classifier": "head"}

    def forward(self, frames):
        tokens = self.stem(frames).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(frames), -1, -1), tokens], 1) + self.pos_embed
        mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(self.norm(mixed[:, 0]))


def checkpoint_filter_fn(state, model):
    if "visual.pos_embed" in state:
        state = {name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")}
    found, side = state["pos_embed"], round((model.pos_embed.shape[1] - 1) ** 0.5)
    grid = found[0, 1:].T.reshape(1, 6, round((found.shape[1] - 1) ** 0.5), -1)
    grid = F.interpolate(grid, (side, side), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    return {**state, "pos_embed": torch.cat([found[:, :1], grid], 1) if found.shape != model.pos_embed.shape else found}


def get_pretrained_cfg(name):
    return SimpleNamespace(fixed_input_size=name == "vit") if name in ("small", "vit") else None


def create_model(name, pretrained=False, num_classes=1000, **size):
    if name == "vit":
        return ViT(num_classes=num_classes, **size)
    if name != "small":
        raise RuntimeError(f"Unknown model ({name})")
    net = nn.Sequential(**size)
    net.add_module("stem", nn.Conv2d(3, 4, 4, stride=4))
    net.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    net.add_module("fc", nn.Linear(4, num_classes) if num_classes else nn.Identity())
    net.pretrained_cfg = {"classifier": "fc"}
    return net
"""


def imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package, written into the folder and imported; forgotten afterwards."""
    (folder / "timm.py").write_text(TIMM)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(folder)
    import timm  # pyright: ignore[reportMissingImports]

    yield timm
    sys.modules.pop("timm")


def weights_of(net: nn.Module | Mapping[str, Tensor]) -> bytes:
    """A weight file."""
    buffer = io.BytesIO()
    torch.save(net.state_dict() if isinstance(net, nn.Module) else dict(net), buffer)
    return buffer.getvalue()
