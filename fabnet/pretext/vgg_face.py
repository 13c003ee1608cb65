"""The published VGG-16 face network as it is (Parkhi, Vedaldi and Zisserman, Deep Face Recognition, BMVC 2015).

Objective: none here; its owners trained it to classify identities. It is the supervised row of the study.
Input: RGB at 224 px, scaled to 0..255, less the published mean of each channel. The weights come from a file:

- a PyTorch state dict with the names of the MatConvNet port (`conv1_1.weight` to `fc8.weight`, RGB), also written
  `conv_1_1`, or with those of torchvision's VGG-16 (`features.N`, `classifier.N`), with fully connected layers as
  matrices or as convolutions; zip or older format; or the same as safetensors;
- ports of the Caffe and Torch 7 releases expect BGR: `channels: bgr` turns the first layer round, so that every encoder
  here takes RGB. The file does not say which; its owner does.

Departures and choices: the study does not name its layer. Here it is `layer`, after its ReLU (as the blobs of the Caffe
release are, whose ReLU works in place), without the dropout of training. No L2 normalisation: the probe has its own.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import BinaryIO, Literal

import torch
from torch import Tensor, nn

from fabnet.modules import weights
from fabnet.modules.method import Fixed, Method

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions between two poolings
MEAN_RGB = (129.1863, 104.7624, 93.5940)  # published, of pixels in 0..255
CHUNK = 16  # images at a time: one takes 25 MB at the first layers


@dataclass(frozen=True)
class Params:
    weights: str  # path of the weight file
    weights_sha256: str
    size_px: int  # side of the input; the original 224
    layer: Literal["fc6", "fc7"]  # whose output is the embedding, 4096 dimensions
    channels: Literal["rgb", "bgr"]  # that the file's first layer expects


class Descriptor(nn.Module):
    """(B, 3, S, S) RGB in [0, 1] -> (B, 4096), at least 0."""

    mean: Tensor

    def __init__(self, *, size_px: int, layer: Literal["fc6", "fc7"]) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = 3
        for block, (channels, count) in enumerate(BLOCKS, start=1):
            for number in range(1, count + 1):
                layers[f"conv{block}_{number}"] = nn.Conv2d(inputs, channels, 3, padding=1)
                layers[f"relu{block}_{number}"] = nn.ReLU(inplace=True)
                inputs = channels
            layers[f"pool{block}"] = nn.MaxPool2d(2)
        layers |= {"flat": nn.Flatten(), "fc6": nn.Linear(512 * (size_px // 32) ** 2, 4096), "relu6": nn.ReLU()}
        if layer == "fc7":
            layers |= {"fc7": nn.Linear(4096, 4096), "relu7": nn.ReLU()}
        self.layers = nn.Sequential(layers)
        self.register_buffer("mean", torch.tensor(MEAN_RGB)[:, None, None], persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        return torch.cat([self.layers(chunk * 255 - self.mean) for chunk in frames.split(CHUNK)])


def build(params: Params, *, size_px: int) -> Method:
    """The network with random weights, to be filled from a model file."""
    return Fixed(Descriptor(size_px=size_px, layer=params.layer))


def supplied(params: Params, file: BinaryIO) -> Method:
    """The network with the weights of a file.

    Raises:
        ValueError: not a readable weight file, or weights of another network.
    """
    net = Descriptor(size_px=params.size_px, layer=params.layer)
    published = weights.state(weights.read(file))
    dropped = {"fc6": ("fc7.", "fc8."), "fc7": ("fc8.",)}[params.layer]
    ours = {name: value for name, value in _renamed(published).items() if not name.startswith(dropped)}
    if params.channels == "bgr" and "conv1_1.weight" in ours:
        ours["conv1_1.weight"] = ours["conv1_1.weight"].flip(1)
    weights.fill(net.layers, ours)
    return Fixed(net)


def _renamed(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under our names, fully connected layers as matrices."""
    names = _names()
    ours: dict[str, Tensor] = {}
    for key, value in published.items():
        layer, _, kind = key.rpartition(".")
        if layer not in names:
            raise ValueError(f"found a weight {key}, which VGG-16 does not have: it is of another network")
        is_matrix = names[layer].startswith("fc") and kind == "weight"
        ours[f"{names[layer]}.{kind}"] = value.flatten(1) if is_matrix else value
    return ours


def _names() -> dict[str, str]:
    """Name of a layer in published files -> our name."""
    names: dict[str, str] = {}
    index = 0
    for block, (_, count) in enumerate(BLOCKS, start=1):
        for number in range(1, count + 1):
            ours = f"conv{block}_{number}"
            names |= dict.fromkeys((ours, f"conv_{block}_{number}", f"features.{index}"), ours)
            index += 2
        index += 1
    for position, ours in ((0, "fc6"), (3, "fc7"), (6, "fc8")):
        names |= dict.fromkeys((ours, f"classifier.{position}"), ours)
    return names


def problem(params: Params) -> str | None:
    """Why the settings cannot be used."""
    if params.size_px < 32 or params.size_px % 32:
        return f"size_px should be a multiple of 32, found {params.size_px}"
    return None
