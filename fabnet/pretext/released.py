"""The authors' published FAb-Net, network and probe head (checkpoints of Wiles et al. 2018), without training.

Objective: none here; it was trained with four frames and confidence maps. A file is one of

- published: `state_dict_model` is the network, `state_dict` the head of one task (BatchNorm1d, linear without bias);
- a training checkpoint of the authors' code: `state_dict` is the network, and there is no head.

The number of a head's outputs says which task it serves, not the file's name: `aflw_4views.pth` holds the one of MAFL.
Points are in [-1, 1] over the crop, angles in radians; classes have one sigmoid each.

Their faces are found by dlib and cut as `CROP` says: its margin is that of the one face of AffectNet which the authors
published, 254 px wide with dlib's box at 35 to 214. Those of 300-W, AFLW and MAFL have annotated boxes instead.

Departures: none in the embedding. The head is saved with the method, and scored beside the heads that the probe stage
fits, never in their place. The authors' demo divides the sigmoids of an image by their sum; here they stay as they are.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from fabnet.modules import weights
from fabnet.modules.face_crop import Crop
from fabnet.modules.method import Fixed, Method, OwnHead
from fabnet.modules.model import FAbNet, from_released
from fabnet.modules.model_file import HeadDescription, coordinates

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
HEADS = {  # outputs of a published head -> what it serves; how it was regularised is not known
    3: HeadDescription("pose", "aflw", "pose", "pose", ("roll", "pitch", "yaw"), 0.0),
    8: HeadDescription("expression", "affectnet", "expression", "classes", EXPRESSIONS, 0.0),
    10: HeadDescription("mafl_landmarks", "mafl", "landmarks", "points", coordinates(5), 0.0),
    136: HeadDescription("w300_landmarks", "w300", "landmarks", "points", coordinates(68), 0.0),
}
CROP = Crop(
    detector="dlib_hog",
    weights_sha256="",
    upsample=(0, 1),
    min_score=0.0,
    margin_frac=0.2,
    crop_px=0,
    scaling="to the network's input at once: bilinear, anti-aliased as PIL does it",
)


@dataclass(frozen=True)
class Params:
    weights: str  # path of the checkpoint
    weights_sha256: str
    size_px: int  # side of the input; the original 256
    width: int  # channels of the first convolution; the original 32
    embedding: int  # dimensions of the embedding; the original 256


# The sizes of the published files.
PUBLISHED = Params(weights="", weights_sha256="", size_px=256, width=32, embedding=256)


class Head(nn.Sequential):
    """(B, D) -> (B, K); without layers until weights are loaded, whose shape gives the number of outputs K."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.register_load_state_dict_pre_hook(_add_layers)

    def grow(self, linear: Tensor) -> None:
        """Add layers for a linear weight (K, D); anything but a matrix is ignored here and refused by the load."""
        if linear.ndim == 2 and not len(self):
            self.extend([nn.BatchNorm1d(self.dims), nn.Linear(self.dims, len(linear), bias=False)])
            self.train(self.training)


def _add_layers(head: Head, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Before weights are loaded: add the layers that they need."""
    if f"{prefix}1.weight" in state:
        head.grow(state[f"{prefix}1.weight"])


class Released(Fixed):
    def __init__(self, params: Params, *, size_px: int) -> None:
        net = FAbNet(size_px=size_px, width=params.width, embedding=params.embedding, with_confidence=True)
        super().__init__(net.encoder)
        self.net = net
        self.head = Head(params.embedding)

    def own_head(self) -> OwnHead | None:
        """The published head; None for a training checkpoint, or if its number of outputs is that of no task."""
        state = {name: value for name, value in self.head.state_dict().items() if "num_batches" not in name}
        serves = HEADS.get(len(state["1.weight"])) if state else None
        return OwnHead(serves.dataset, serves.task, state) if serves else None


def build(params: Params, *, size_px: int) -> Method:
    """The network with random weights and without a head, to be filled from a model file."""
    return Released(params, size_px=size_px)


def supplied(params: Params, file: BinaryIO) -> Method:
    """The network and head of a checkpoint.

    Raises:
        ValueError: no readable checkpoint, or weights of another network.
    """
    content = weights.read(file, allow=[argparse.Namespace])
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError("expected a checkpoint with `state_dict` and, if published, `state_dict_model`")
    method = Released(params, size_px=params.size_px)
    is_published = "state_dict_model" in content
    weights.fill(method.net, _ours(weights.state(content["state_dict_model" if is_published else "state_dict"])))
    if is_published:
        head = {"0.num_batches_tracked": torch.zeros((), dtype=torch.long), **weights.state(content["state_dict"])}
        if "1.weight" in head:
            method.head.grow(head["1.weight"])
        weights.fill(method.head, head)
    return method


def _ours(released: dict[str, Tensor]) -> dict[str, Tensor]:
    other = next((key for key in released if not re.match(r"(encoder|decoder|mask)\..", key)), None)
    if other is not None:
        raise ValueError(f"found a weight {other}, expected encoder.N, decoder.N and mask.N: it is of another network")
    return from_released(released)
