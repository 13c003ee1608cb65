"""FAb-Net with several source frames, mixed by confidence maps (Wiles et al. 2018, section 3.2).

Objective: mean L1 distance between the mix of the warped sources and the target frame.
It starts from a trained single-source network, whose sampler keeps its weights. As in the original, the sampler is in
training mode all the same: BN uses the statistics of each source in a batch, and the running statistics follow them.
Departure: the original continues with the window of its curriculum; here every sample counts.
"""

from dataclasses import dataclass

from torch import Tensor

from fabnet.modules.losses import photometric
from fabnet.modules.method import Method
from fabnet.modules.model import FAbNet


@dataclass(frozen=True)
class Params:
    width: int  # channels of the first convolution; the original 32
    embedding: int  # dimensions of the embedding; the original 256
    sources: int  # source frames; the paper 3


class SeveralSources(Method):
    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.net = FAbNet(size_px=size_px, width=params.width, embedding=params.embedding, with_confidence=True)
        self.net.sampler.requires_grad_(requires_grad=False)
        self.encoder = self.net.encoder
        self.frames = 1 + params.sources

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, and `copy`: the loss of taking the first source frame as it is."""
        target, sources = frames[:, 0], frames[:, 1:]
        reconstruction = self.net(sources, target)
        return {"loss": photometric(reconstruction, target).mean(), "copy": photometric(sources[:, 0], target).mean()}


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation, to be started from a single-source one."""
    return SeveralSources(params, size_px=size_px)


def start_from(method: SeveralSources, trained: Method) -> None:
    """Copy encoder and sampler of a trained single-source network; the confidence decoder keeps its initial weights.

    Raises:
        ValueError: another method, or a network of another size.
    """
    net = getattr(trained, "net", None)
    if not isinstance(net, FAbNet):
        raise ValueError("it should start from a FAb-Net with one source frame")
    if type(net.sampler[0]) is not type(method.net.sampler[0]):
        raise ValueError("it should start from a network whose slope is 0")
    try:
        method.net.encoder.load_state_dict(net.encoder.state_dict())
        method.net.sampler.load_state_dict(net.sampler.state_dict())
    except RuntimeError as error:
        raise ValueError("it should start from a network of the same size_px, width and embedding") from error
