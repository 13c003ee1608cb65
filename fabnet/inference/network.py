"""A trained network that is ready to use: face crops in, embeddings, attributes and warped images out.

Images are face crops, cut as `Network.crop` says, in any of the forms of `fabnet.inference.batches`.
"""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.inference import batches
from fabnet.inference.batches import Images
from fabnet.modules import devices
from fabnet.modules.face_crop import Crop
from fabnet.modules.method import Method
from fabnet.modules.model import FAbNet
from fabnet.modules.model_file import Description, HeadDescription
from fabnet.probe_head import Crops, FittedHead

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class AttributeHead:
    """A fitted probe head: embeddings -> one attribute."""

    description: HeadDescription
    fitted: FittedHead
    probe: ModuleType  # of fabnet/probes

    def __call__(self, x: Tensor, crops: Crops) -> Floats:
        """Embeddings (N, D) float64 of the crops -> (N, K), or points (N, P, 2)."""
        values = self.probe.decode(self.fitted.predict(x).numpy(), crops).astype(np.float32)
        is_points = self.description.probe == "points"
        return values.reshape(len(values), values.shape[1] // 2, 2) if is_points else values


@dataclass(frozen=True)
class Network:
    """A method with its attribute heads, in evaluation mode on one device."""

    description: Description
    method: Method
    heads: tuple[AttributeHead, ...]  # by name, ascending; none before the stage `package`
    device: torch.device

    @property
    def crop(self) -> Crop | None:
        """How the faces behind the attribute heads were cut out of their images; None before the stage `package`."""
        return self.description.crop

    @property
    def parts(self) -> dict[str, slice]:
        """Where the named parts of an embedding are: `embeddings[:, net.parts[name]]`; empty for most methods."""
        return {name: slice(start, end) for name, (start, end) in self.method.parts.items()}

    @property
    def attribute_names(self) -> list[str]:
        """Names of the attributes, sorted."""
        return [head.description.name for head in self.heads]

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Names of the numbers of each attribute: classes, angles, action units, or x0, y0, x1, y1 ..."""
        return {head.description.name: head.description.columns for head in self.heads}

    def embed(self, images: Images, *, batch: int = 256) -> Floats:
        """Embeddings (N, D) float32, any real value.

        Raises:
            ValueError: no images in any of the forms.
        """
        frames = batches.batches(images, self.description.size_px, batch)
        with torch.inference_mode(), devices.without_tf32():
            vectors = [self.method.encoder(inputs.to(self.device)).flatten(1).cpu().numpy() for inputs in frames]
        return np.concatenate([np.zeros((0, self.description.dims), np.float32), *vectors])

    def attributes(self, images: Images, *, batch: int = 256) -> dict[str, Floats]:
        """Predicted attributes of each image by name, see `attributes_of`.

        Raises:
            ValueError: no images in any of the forms.
        """
        return self.attributes_of(self.embed(images, batch=batch), batches.sizes_px(images))

    def attributes_of(self, embeddings: Floats, sizes_px: NDArray[np.float64]) -> dict[str, Floats]:
        """Predicted attributes of embeddings by name; empty for a network without attribute heads.

        Args:
            embeddings: (N, D).
            sizes_px: (N, 2) width and height of the images behind them.

        Returns:
            float32 arrays: points (N, P, 2) as x, y in pixels of each image, the centre of the first pixel at 0;
            pose (N, 3) as roll, pitch and yaw in degrees; classes and action units (N, K), a separate probability for
            each; a unit is present above 0.5. `columns` names the K.
        """
        edges = np.concatenate([np.zeros_like(sizes_px), sizes_px], axis=1)
        x = torch.from_numpy(embeddings).double()
        return {head.description.name: head(x, Crops(sizes_px, edges)) for head in self.heads}

    def warp(self, source: Images, driving: Images, *, batch: int = 64) -> NDArray[np.uint8]:
        """The source face in the pose and expression of each driving face, (N, S, S, 3) at the network's input size.

        Args:
            source: one image, or as many as the network mixes by confidence, all of one face.
            driving: N images.
            batch: driving images at a time.

        Raises:
            ValueError: a network without a sampler, several sources for one that takes one, or no images.
        """
        net, size_px = getattr(self.method, "net", None), self.description.size_px
        if not isinstance(net, FAbNet):
            raise ValueError(f"{self.description.method} has no sampler, so it cannot warp: take fabnet")
        frames = list(batches.batches(source, size_px, batch))
        if not frames or (len(source) > 1 and net.confidence is None):
            raise ValueError(f"expected one source image for {self.description.method}, found {len(source)}")
        sources = torch.cat(frames).to(self.device)
        warped = [np.zeros((0, size_px, size_px, 3), np.uint8)]
        with torch.inference_mode():
            for targets in batches.batches(driving, size_px, batch):
                result = net(sources.expand(len(targets), *sources.shape), targets.to(self.device))
                warped.append((result * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(warped)
