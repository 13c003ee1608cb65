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
    """

    def __init__(self, *, size_px: int, width: int, embedding: int, with_confidence: bool) -> None:
        super().__init__()
        self.encoder = Encoder(size_px=size_px, width=width, embedding=embedding)
        self.sampler = Decoder(size_px=size_px, width=width, inputs=2 * embedding, outputs=2)
        self.confidence = (
            Decoder(size_px=size_px, width=width, inputs=2 * embedding, outputs=1) if with_confidence else None
        )

    def encode(self, frames: Tensor) -> Tensor:
        """(..., 3, H, W) in [0, 1] -> (..., D)."""
        return self.encoder(frames.flatten(0, -4)).flatten(1).unflatten(0, frames.shape[:-3])

    def sample(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Embeddings (N, D) and (N, D) -> flow (N, 2, H, W) in (-1, 1), normalised units."""
        return self.sampler(torch.cat([sources, targets], dim=1)[..., None, None])

    def weigh(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Embeddings (N, D) and (N, D) -> confidence (N, 1, H, W) in (-1, 1)."""
        if self.confidence is None:
            raise ValueError("this network was built for one source frame and has no confidence decoder")
        return self.confidence(torch.cat([sources, targets], dim=1)[..., None, None])

    def mix(self, sources: Tensor, target: Tensor) -> Mix:
        """(B, S, 3, H, W) and (B, 3, H, W) in [0, 1] -> warped sources and their weights, 1 for a single one."""
        batch, count = sources.shape[:2]
        e_tgt, *e_src = self.encode(torch.cat([target[:, None], sources], dim=1)).unbind(1)  # each (B, D)
        pair = torch.cat(e_src), e_tgt.repeat(count, 1)  # (S*B, D), source-major
        images = sources.detach().transpose(0, 1).flatten(0, 1)  # (S*B, 3, H, W)
        flow = self.sample(*pair)
        scores = self.weigh(*pair) if count > 1 else flow.new_zeros(batch, 1, *flow.shape[2:])
        flow, warped, scores = (
            maps.unflatten(0, (count, batch)).transpose(0, 1) for maps in (flow, warp(images, flow), scores)
        )
        return Mix(flow, warped, scores.softmax(dim=1))

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
