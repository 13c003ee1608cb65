"""Time-contrastive: a frame is like one just before or after it, unlike a later one of the same face (Shu et al. 2022).

"Revisiting Self-Supervised Contrastive Learning for Facial Expression Recognition", BMVC 2022: TimeAug with HardNeg.

Objective: InfoNCE on projections of the embeddings. Each anchor has to find its near frame, and each near frame its
anchor, among the other anchors and near frames of the batch and all far frames. A far frame of the same track shows the
same identity in the same light, so that identity does not help (a hard negative).
Departures: FAb-Net's encoder instead of a ResNet-50, and no augmentation but the random crop; far frames are negatives
alone, while the authors' code also gives each a near frame to find; "near" is at most and "far" more than `gap` stored
frames, in the authors' code about one second and at least three; FaceSwap and MaskFN, which need landmarks, are left
out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fabnet.modules import frame_choice, ranks
from fabnet.modules.encoder import Encoder
from fabnet.modules.method import Method
from fabnet.modules.two_views import Projector


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution
    embedding: int  # dimensions of the embedding
    projection: int  # dimensions that the loss sees
    temperature: float  # of the softmax over cosine similarities
    gap: int  # frames as they are stored: a near frame is at most so far away, a far one farther


class TimeContrastive(Method):
    frames = frame_choice.NEAR_FAR
    frames_by = "near_far"
    smallest_batch = 2  # other samples are its negatives

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.gap = params.gap
        self.temperature = params.temperature
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)
        self.projector = Projector(embedding=params.embedding, outputs=params.projection)

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, `accuracy` of finding the partner, and `nearer`: share of anchors closer to near than to far."""
        embeddings = self.encoder(frames.transpose(0, 1).flatten(0, 1)).flatten(1)
        views = nn.functional.normalize(self.projector(embeddings)).chunk(self.frames)
        anchor, near, far = (ranks.gathered(view) for view in views)  # (B, P) each, of the whole batch
        similarity, partner = similarities(anchor, near, far)
        return {
            "loss": nn.functional.cross_entropy(similarity / self.temperature, partner),
            "accuracy": (similarity.argmax(dim=1) == partner).float().mean(),
            "nearer": ((anchor * near).sum(1) > (anchor * far).sum(1)).float().mean(),
        }


def similarities(anchor: Tensor, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors (B, P) of each kind -> cosines and partners of all anchors, then of all near frames.

    Returns:
        cosines (2 B, 3 B) with anchors, near and far frames, minus infinity with itself; and the column (2 B,) of the
        frame that each one has to find.
    """
    queries = torch.cat([anchor, near])
    itself = torch.eye(len(queries), 3 * len(far), dtype=torch.bool, device=far.device)
    cosines = (queries @ torch.cat([queries, far]).T).masked_fill(itself, -torch.inf)
    return cosines, torch.arange(len(queries), device=far.device).roll(len(far))


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return TimeContrastive(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why its near and far frames cannot be chosen or compared."""
    if params.temperature <= 0:
        return f"temperature should be above 0, found {params.temperature:g}"
    return frame_choice.problem(params.gap)
