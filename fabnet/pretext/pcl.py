"""PCL, pose-disentangled contrastive learning (Liu, Wang, Zhan, Feng, Liu and Chen, CVPR 2023).

The embedding has a part for pose and one for the face. Mirroring changes the pose of a frame and keeps its face.
Objective, the sum of
- reconstruction: a decoder rebuilds the frame from the sum of its face part and its pose part, and the mirrored frame
  from the sum of the frame's face part and the mirrored frame's pose part (L1);
- orthogonality: squared correlation between the two parts over the batch;
- pose contrast: a frame altered twice has the same pose both times, and another one when it is mirrored;
- face contrast: among all altered frames of the batch, find the other alteration of the same frame (NT-Xent).
Departures: FAb-Net's encoder and decoder, whose parts share all layers. One reconstruction of each kind instead of two
(the others follow by mirroring the frame), without noise on the input. Alterations are crop, colour and grey; blur and
edges are left out. One mirrored negative instead of a hundred, and no mixed negatives. The terms are minimised together
with fixed weights; the authors' code takes turns and balances them while it trains.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fabnet.modules import ranks
from fabnet.modules.decoder import Decoder
from fabnet.modules.draws import Draws
from fabnet.modules.encoder import Encoder
from fabnet.modules.losses import photometric
from fabnet.modules.method import Method
from fabnet.modules.two_views import Projector

DRAWN = 8  # uniform numbers that an alteration takes
SMALLEST = 0.8  # side of a crop, as a share of the frame's
GREY = 0.2  # share of frames that lose their colours


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution, and of the decoder's last but one
    embedding: int  # dimensions of both parts together; the original 4096
    projection: int  # dimensions that a contrast sees; the original 512
    temperature: float  # of both contrasts; the original 0.07
    reconstruction: float  # weights of the four terms
    orthogonality: float
    pose_contrast: float
    face_contrast: float


class PCL(Method):
    frames = 1
    smallest_batch = 2  # its losses compare samples

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.params, half = params, params.embedding // 2
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)
        self.decoder = Decoder(size_px=size_px, width=params.width, inputs=half, outputs=3)
        self.of_pose = Projector(embedding=half, outputs=params.projection)
        self.of_face = Projector(embedding=half, outputs=params.projection)
        self.draws = Draws()
        self.parts = {"pose": (0, half), "face": (half, params.embedding)}

    def encode(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Views (V, B, 3, S, S) in [0, 1] -> pose and face parts, (V, B, D / 2) each."""
        embeddings = self.encoder(views.flatten(0, 1), len(views)).flatten(1).unflatten(0, views.shape[:2])
        pose, face = embeddings.chunk(2, dim=2)
        return pose, face

    def rebuild(self, pose: Tensor, face: Tensor) -> Tensor:
        """Parts (V, B, D / 2) of views -> images (V, B, 3, S, S) in (0, 1)."""
        codes = F.normalize(pose + face, dim=2)
        images = self.decoder(codes.flatten(0, 1)[..., None, None], len(codes))
        return (images.unflatten(0, codes.shape[:2]) + 1) / 2

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and its four terms before they are weighted."""
        frame = frames[:, 0]
        pair = torch.stack([frame, frame.flip(-1)])
        numbers = self.draws(len(frame), 3 * DRAWN).unflatten(1, (3, DRAWN))
        views = [altered(image, numbers[:, view]) for view, image in enumerate((frame, frame, frame.flip(-1)))]
        pose, face = self.encode(torch.cat([pair, torch.stack(views)]))  # (5, B, D / 2)
        rebuilt = self.rebuild(pose[:2], face[:1].expand_as(face[:2]))
        poses = self.of_pose(pose[2:].flatten(0, 1)).chunk(3)
        faces = (ranks.gathered(view) for view in self.of_face(face[2:4].flatten(0, 1)).chunk(2))
        terms = {
            "reconstruction": photometric(rebuilt.flatten(0, 1), pair.flatten(0, 1)).mean(),
            "orthogonality": torch.stack([correlation(a, b) for a, b in zip(pose[:2], face[:2], strict=True)]).sum(),
            "pose_contrast": pose_contrast(*poses, temperature=self.params.temperature),
            "face_contrast": face_contrast(*faces, temperature=self.params.temperature),
        }
        loss = torch.stack([getattr(self.params, name) * term for name, term in terms.items()]).sum()
        return {"loss": loss, **terms}


def altered(images: Tensor, numbers: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] with another crop and other colours; uniform `numbers` (B, DRAWN) in [0, 1)."""
    side, x, y, contrast, grey, *channels = numbers.to(images.dtype).unbind(dim=1)
    side = SMALLEST + (1 - SMALLEST) * side
    zero = torch.zeros_like(side)
    across = torch.stack([side, zero, (1 - side) * (2 * x - 1)], dim=1)
    down = torch.stack([zero, side, (1 - side) * (2 * y - 1)], dim=1)
    grid = F.affine_grid(torch.stack([across, down], dim=1), list(images.shape), align_corners=False)
    cut = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = 0.6 + 0.8 * torch.stack(channels, dim=1)[..., None, None]
    mean = cut.mean(dim=(1, 2, 3), keepdim=True)
    coloured = ((cut - mean) * (0.5 + contrast[:, None, None, None]) + mean) * gain
    is_grey = (grey < GREY)[:, None, None, None]
    return torch.where(is_grey, coloured.mean(dim=1, keepdim=True), coloured).clamp(0, 1)


def correlation(pose: Tensor, face: Tensor) -> Tensor:
    """Parts (B, D) and (B, E) -> mean square over all D x E of the sum of their products over the batch.

    Both are centred over the batch; then each sample is scaled to length 1, by a factor without gradient.
    """
    pose, face = (_centred(ranks.gathered(part)) for part in (pose, face))
    return (pose.T @ face).square().mean()


def _centred(part: Tensor) -> Tensor:
    centred = part - part.mean(dim=0)
    return centred / (centred.norm(dim=1, keepdim=True).detach() + 1e-6)


def pose_contrast(one: Tensor, other: Tensor, mirrored: Tensor, *, temperature: float) -> Tensor:
    """Projections (B, P): cross-entropy of choosing the other alteration and not the mirrored image, by cosine."""
    one, other, mirrored = (F.normalize(view, dim=1) for view in (one, other, mirrored))
    alike = (one * other).sum(dim=1)  # (B)
    unlike = torch.stack([(view * mirrored).sum(dim=1) for view in (one, other)])  # (2, B)
    return F.softplus((unlike - alike) / temperature).mean()  # two classes


def face_contrast(one: Tensor, other: Tensor, *, temperature: float) -> Tensor:
    """Projections (B, P) of two views: NT-Xent (SimCLR, Chen et al., ICML 2020, equation 1)."""
    views = F.normalize(torch.cat([one, other]), dim=1)
    similarity = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    partners = torch.arange(len(views), device=views.device).roll(len(one))
    return F.cross_entropy(similarity, partners)


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return PCL(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why the embedding cannot be cut into parts, or nothing be contrasted."""
    if params.embedding % 2:
        return f"embedding should be even, found {params.embedding}"
    return None if params.temperature > 0 else f"temperature should be above 0, found {params.temperature:g}"
