"""Imitations of the files of the authors' release: a small network and a probe head, packed as theirs are."""

import argparse
import io
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from fabnet.modules.model import FAbNet
from fabnet.pretext import released

PARAMS = released.Params("", "", 32, 4, 6)
THEIRS = {"encoder": "encoder", "sampler": "decoder", "confidence": "mask"}


def networks(outputs: int = 10, of: released.Params = PARAMS) -> tuple[FAbNet, nn.Sequential]:
    """A network and a probe head with statistics that differ from the initial ones, in evaluation mode."""
    size_px, dims = of.size_px, of.embedding
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        net = FAbNet(size_px=size_px, width=of.width, embedding=dims, with_confidence=True)
        head = nn.Sequential(nn.BatchNorm1d(dims), nn.Linear(dims, outputs, bias=False))
        net(torch.rand(4, 2, 3, size_px, size_px), torch.rand(4, 3, size_px, size_px))
        head(torch.rand(4, dims))
    return net.eval(), head.eval()


def file(path: Path, outputs: int) -> Path:
    """A file of the size of those that the authors published, in the format of their time."""
    net, head = networks(outputs, released.PUBLISHED)
    torch.save(published(net, head, counters=False), path, _use_new_zipfile_serialization=False)
    return path


def theirs(module: nn.Module, *, counters: bool) -> dict[str, Tensor]:
    """The state under the names of the authors' code."""
    state = {name: value for name, value in module.state_dict().items() if counters or "num_batches" not in name}
    first = {name: name.split(".")[0] for name in state}
    return {name.replace(first[name], THEIRS.get(first[name], first[name]), 1): state[name] for name in state}


def published(net: FAbNet, head: nn.Module, *, counters: bool = True) -> dict[str, Any]:
    return {"state_dict_model": theirs(net, counters=counters), "state_dict": theirs(head, counters=counters)}


def training(net: FAbNet) -> dict[str, Any]:
    opts = argparse.Namespace(lr=0.001, model_epoch_path="models/", cameras=[1, 2])
    return {
        "state_dict": theirs(net, counters=True), "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "epoch": 3, "lr": 0.1, "momentum": 0.9, "opts": opts,
    }  # fmt: skip


def packed(content: Any, *, is_zip: bool = True) -> BinaryIO:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    buffer.seek(0)
    return buffer
