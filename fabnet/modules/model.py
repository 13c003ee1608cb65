"""FAb-Net: reconstruct a target frame from source frames of the same face track (Wiles et al. 2018, section 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fabnet.modules.decoder import Decoder
from fabnet.modules.encoder import Encoder
from fabnet.modules.losses import photometric
from fabnet.modules.warp import warp


@dataclass(frozen=True)
class Mix:
    """The parts of a reconstructed target."""

    flow: Tensor  # (B, S, 2, H, W) in (-1, 1), offset to where each target pixel is sampled, normalised units
    warped: Tensor  # (B, S, 3, H, W) in [0, 1]
    weight: Tensor  # (B, S, 1, H, W), adds up to 1 over S

    @property
    def result(self) -> Tensor:
        """(B, 3, H, W) in [0, 1]."""
        return (self.weight * self.warped).sum(dim=1)


class FAbNet(nn.Module):
    """One encoder for all frames, one sampler for all sources, one confidence decoder when there are several.

    The sampler sees only the pair of embeddings, source first. The source image carries no gradient, its
    embedding does. At 256 px, width 32: encoder 4.89 M, sampler and confidence decoder 3.34 M weights each.
    In training, BN sees the target and each source on its own, as in the original, which calls a module once for each.
    """

    def __init__(self, *, size_px: int, width: int, embedding: int, with_confidence: bool, slope: float = 0.0) -> None:
        """`slope`: of the sampler's first activation, see `Decoder`."""
        super().__init__()
        self.encoder = Encoder(size_px=size_px, width=width, embedding=embedding)
        self.sampler = Decoder(size_px=size_px, width=width, inputs=2 * embedding, outputs=2, slope=slope)
        self.confidence = (
            Decoder(size_px=size_px, width=width, inputs=2 * embedding, outputs=1) if with_confidence else None
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Views (V, B, 3, H, W) in [0, 1] -> (V, B, D)."""
        return self.encoder(frames.flatten(0, 1), len(frames)).flatten(1).unflatten(0, frames.shape[:2])

    def sample(self, sources: Tensor, target: Tensor) -> Tensor:
        """Embeddings (S, B, D) and (B, D) -> flow (S, B, 2, H, W) in (-1, 1), normalised units."""
        return self._decode(self.sampler, sources, target)

    def weigh(self, sources: Tensor, target: Tensor) -> Tensor:
        """Embeddings (S, B, D) and (B, D) -> confidence (S, B, 1, H, W) in (-1, 1)."""
        if self.confidence is None:
            raise ValueError("this network was built for one source frame and has no confidence decoder")
        return self._decode(self.confidence, sources, target)

    def _decode(self, decoder: Decoder, sources: Tensor, target: Tensor) -> Tensor:
        pairs = torch.cat([sources, target.expand_as(sources)], dim=-1)  # (S, B, 2 D)
        return decoder(pairs.flatten(0, 1)[..., None, None], len(pairs)).unflatten(0, pairs.shape[:2])

    def mix(self, sources: Tensor, target: Tensor) -> Mix:
        """(B, S, 3, H, W) and (B, 3, H, W) in [0, 1] -> warped sources and their weights, 1 for a single one."""
        views = torch.cat([target[None], sources.transpose(0, 1)])  # (1 + S, B, 3, H, W)
        embeddings = self.encode(views)  # (1 + S, B, D)
        e_src, e_tgt = embeddings[1:], embeddings[0]
        flow = self.sample(e_src, e_tgt)  # (S, B, 2, H, W)
        scores = self.weigh(e_src, e_tgt) if len(e_src) > 1 else torch.zeros_like(flow[:, :, :1])  # (S, B, 1, H, W)
        warped = warp(views[1:].detach().flatten(0, 1), flow.flatten(0, 1)).unflatten(0, flow.shape[:2])
        return Mix(flow.transpose(0, 1), warped.transpose(0, 1), scores.softmax(dim=0).transpose(0, 1))

    def forward(self, sources: Tensor, target: Tensor) -> Tensor:
        """(B, S, 3, H, W) and (B, 3, H, W) in [0, 1] -> the reconstructed target, (B, 3, H, W)."""
        return self.mix(sources, target).result


def single_source(net: FAbNet, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Photometric losses (B,) of the warped source frame, and of the source frame as it is.

    `frames` (B, 2, 3, S, S) in [0, 1], target first. A trained sampler should be better than no warp at all.
    """
    target, source = frames[:, 0], frames[:, 1]
    return photometric(net(source[:, None], target), target), photometric(source, target)


def from_released(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of the authors' network -> state dict of `FAbNet(with_confidence=True)` at 256 px.

    Their `decoder` is our `sampler`, their `mask` our `confidence`; counters of BN, which files written before
    PyTorch 0.4.1 lack, start at zero.
    """
    renamed = {"encoder": "encoder", "decoder": "sampler", "mask": "confidence"}
    ours: dict[str, Tensor] = {}
    for key, value in released.items():
        module, rest = key.split(".", 1)
        ours[f"{renamed[module]}.{rest}"] = value
        if rest.endswith("running_mean"):
            counter = f"{renamed[module]}.{rest.removesuffix('running_mean')}num_batches_tracked"
            ours.setdefault(counter, torch.zeros((), dtype=torch.long))
    return ours
