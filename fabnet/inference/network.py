"""A trained network that is ready to use: pictures of faces in, embeddings, attributes and warped frames out.

Pictures are face crops, cut as `Network.crop` says, in any of the forms of `fabnet.inference.batches`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.inference import batches
from fabnet.inference.batches import Pictures
from fabnet.inference.crop import Crop
from fabnet.inference.model_file import Description, Head
from fabnet.modules.method import Method
from fabnet.modules.model import FAbNet
from fabnet.probe_head import Crops, FittedHead

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reader:
    """What tells one attribute from embeddings."""

    head: Head
    probe: FittedHead
    module: Any  # of fabnet/probes

    def __call__(self, x: Tensor, crops: Crops) -> Floats:
        """Embeddings (N, D) float64 of pictures that are `crops` -> (N, K), or points (N, P, 2)."""
        found = self.module.decode(self.probe.predict(x).numpy(), crops).astype(np.float32)
        return found.reshape(len(found), found.shape[1] // 2, 2) if self.head.probe == "points" else found


@dataclass(frozen=True)
class Network:
    """A method with its probes, in evaluation mode on one device."""

    description: Description
    method: Method
    readers: tuple[Reader, ...]  # by name of their attribute, ascending
    device: torch.device

    @property
    def crop(self) -> Crop:
        """How the faces that the probes know were cut out of their pictures."""
        return self.description.crop

    @property
    def attribute_names(self) -> list[str]:
        """What `attributes` tells, sorted."""
        return [reader.head.name for reader in self.readers]

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """What each number of an attribute is, by attribute: classes, angles, action units, or x0, y0, x1, y1 ..."""
        return {reader.head.name: reader.head.columns for reader in self.readers}

    def embed(self, images: Pictures, *, batch: int = 256) -> Floats:
        """(N, D) float32, any real value.

        Raises:
            ValueError: no pictures in any of the forms.
        """
        frames = batches.batches(images, self.description.size_px, batch)
        with torch.inference_mode():
            found = [self.method.encoder(some.to(self.device)).flatten(1).cpu().numpy() for some in frames]
        return np.concatenate([np.zeros((0, self.description.dims), np.float32), *found])

    def attributes(self, images: Pictures, *, batch: int = 256) -> dict[str, Floats]:
        """What the probes tell of each picture, see `attributes_of`.

        Raises:
            ValueError: no pictures in any of the forms.
        """
        return self.attributes_of(self.embed(images, batch=batch), batches.sizes_px(images))

    def attributes_of(self, embeddings: Floats, sizes_px: NDArray[np.float64]) -> dict[str, Floats]:
        """What the probes tell of embeddings, by attribute.

        Args:
            embeddings: (N, D).
            sizes_px: (N, 2) width and height of the pictures behind them.

        Returns:
            float32 arrays: points (N, P, 2) as x, y in pixels of each picture, the centre of the first pixel at 0;
            pose (N, 3) as roll, pitch and yaw in degrees; classes and action units (N, K), one probability for each by
            itself; a unit is present above 0.5. `columns` names the K.
        """
        edges = np.concatenate([np.zeros_like(sizes_px), sizes_px], axis=1)
        x = torch.from_numpy(embeddings).double()
        return {reader.head.name: reader(x, Crops(sizes_px, edges)) for reader in self.readers}

    def warp(self, source: Pictures, driving: Pictures, *, batch: int = 64) -> NDArray[np.uint8]:
        """The source face in the pose and expression of each driving face, (N, S, S, 3) at the network's input size.

        Args:
            source: one picture, or as many as the network mixes by confidence, all of one face.
            driving: N pictures.
            batch: driving pictures at a time.

        Raises:
            ValueError: a network without a sampler, several sources for one that takes one, or no pictures.
        """
        net, size_px = getattr(self.method, "net", None), self.description.size_px
        if not isinstance(net, FAbNet):
            raise ValueError(f"{self.description.method} has no sampler, so it warps nothing: take fabnet")
        found = list(batches.batches(source, size_px, batch))
        if not found or (len(source) > 1 and net.confidence is None):
            raise ValueError(f"expected one source picture for {self.description.method}, found {len(source)}")
        sources = torch.cat(found).to(self.device)
        made = [np.zeros((0, size_px, size_px, 3), np.uint8)]
        with torch.inference_mode():
            for targets in batches.batches(driving, size_px, batch):
                mixed = net(sources.expand(len(targets), *sources.shape), targets.to(self.device))
                made.append((mixed * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(made)
