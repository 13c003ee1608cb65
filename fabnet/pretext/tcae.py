"""TCAE, the twin-cycle autoencoder: move facial actions and head pose apart (Li, Zeng, Shan and Chen, CVPR 2019).

The embedding has a part for action units and one for pose. From the parts of a source and a target frame two decoders
predict how pixels move when only the facial actions change, and when only the pose does.
Objective, with the weights of the authors' code:
- L1 distance between the target and the source moved by both: the two flows are mixed by a softmax of confidence maps;
- L1 distance between the source and itself after each change and back again, by the embedding of the changed image;
- squared distance between the parts of a changed image and those that it should have: one of the target, one of the
  source;
- L1 norm of the flow of facial actions, which are small.
Departures: FAb-Net's encoder, whose parts share all layers (in the paper the last three convolutions are apart, and its
parts have 256 dimensions each). No curriculum. The authors' code also compares the embedding of the reconstruction with
the target's, at the price of one more encoding in each step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fabnet.modules.decoder import Decoder
from fabnet.modules.encoder import Encoder
from fabnet.modules.losses import photometric
from fabnet.modules.method import Method
from fabnet.modules.warp import warp

AU, POSE = 0, 1  # places of the parts in an embedding


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution, and of the decoders' last but one; the original 32
    embedding: int  # dimensions of both parts together; the original 512
    reconstruction: float  # weights of the four terms; the original 10, 1, 1, 0.1
    cycle: float
    consistency: float
    sparsity: float


class TCAE(Method):
    frames = 2

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.params, half = params, params.embedding // 2
        self.encoder = Encoder(size_px=size_px, width=params.width, embedding=params.embedding)
        self.movers = nn.ModuleList(  # of facial actions and of pose: flow and confidence from a pair of parts
            Decoder(size_px=size_px, width=params.width, inputs=params.embedding, outputs=3) for _ in (AU, POSE)
        )
        self.parts = {"au": (0, half), "pose": (half, params.embedding)}

    def encode(self, views: Tensor) -> Tensor:
        """Two views (2, B, 3, S, S) in [0, 1] -> their parts (2, B, 2, D / 2), AU first."""
        return self.encoder(views.flatten(0, 1), 2).flatten(1).unflatten(1, (2, -1)).unflatten(0, (2, -1))

    def move(self, part: int, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Parts (B, 2, D / 2) of two images -> flow that changes one part, and its confidence (B, 1, S, S).

        The flow (B, 2, S, S) is within (-1, 1), for `warp` of the image `start`, which keeps its other part.
        """
        pair = torch.cat([start[:, part], end[:, part]], dim=1)
        maps = self.movers[part](pair[..., None, None])
        return maps[:, :2], maps[:, 2:]

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, its four terms before they are weighted, and `copy`: the loss of the source frame as it is."""
        target, source = frames[:, 0], frames[:, 1]
        of_target, of_source = self.encode(torch.stack([target, source]))  # (B, 2, D / 2) each
        motions = [self.move(part, of_source, of_target) for part in (AU, POSE)]
        flows, scores = (torch.stack(maps) for maps in zip(*motions, strict=True))  # (2, B, 2 or 1, S, S)
        changed = torch.stack([warp(source, flow) for flow in flows])  # (2, B, 3, S, S): other actions, other pose
        of_changed = self.encode(changed)  # (2, B, 2, D / 2)
        wanted = of_source.repeat(2, 1, 1, 1)
        for part in (AU, POSE):
            wanted[part, :, part] = of_target[:, part]
        back = [self.move(part, of_changed[part], of_source)[0] for part in (AU, POSE)]
        returned = [warp(image.detach(), flow) for image, flow in zip(changed, back, strict=True)]
        moved = warp(source, (scores.softmax(dim=0) * flows).sum(dim=0))
        terms = {
            "reconstruction": photometric(moved, target).mean(),
            "cycle": torch.stack([photometric(image, source).mean() for image in returned]).sum(),
            "consistency": 4 * F.mse_loss(of_changed, wanted),  # the sum over two parts of two images
            "sparsity": flows[AU].abs().mean(),
        }
        loss = torch.stack([getattr(self.params, name) * term for name, term in terms.items()]).sum()
        return {"loss": loss, **terms, "copy": photometric(source, target).mean()}


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation, as the original."""
    return TCAE(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why the embedding cannot be cut into parts."""
    return None if params.embedding % 2 == 0 else f"embedding should be even, found {params.embedding}"
