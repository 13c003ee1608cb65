"""Frames of a track set decoded on a GPU, a batch at once, by the optional package torchcodec.

Another library decodes there, so its pixels may differ slightly from OpenCV's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stages.runtime.errors import UserError
from stages.storage import media
from stages.training.trackset import TrackSet

Decode = Callable[..., list[Tensor]]

INSTEAD = "set pretrain.jpeg_decoder to opencv"


class Encoded(NamedTuple):
    """One frame as it is stored."""

    row: int
    jpeg: bytes


@dataclass(frozen=True)
class GpuFrames:
    """Frames on `device`; `read` is called from several threads, `decode` with what it returned for a whole batch."""

    frames: TrackSet
    device: torch.device
    decode_jpeg: Decode

    def read(self, row: int) -> Encoded:
        """The JPEG of one row, not cut short.

        Raises:
            UserError: it cannot be decoded, though `crop` wrote it.
        """
        jpeg = self.frames.read(row)
        with self.frames.blamed(row):
            media.check_image(jpeg)
        return Encoded(row, jpeg)

    def decode(self, batch: Sequence[Encoded]) -> list[Tensor]:
        """RGB frames (H, W, 3) uint8 on the device.

        Raises:
            UserError: one of them cannot be decoded.
        """
        try:
            images = self.decode_jpeg([each.jpeg for each in batch], mode="RGB", device=self.device)
        except RuntimeError as error:
            for each in batch:
                self.frames.image(each.row)  # names the damaged one
            raise UserError(f"torchcodec cannot decode a frame: {error}; {INSTEAD}") from None
        return [image.permute(1, 2, 0) for image in images]


def torchcodec() -> Decode:
    """The package's `decode_jpeg`.

    Raises:
        UserError: it is missing, or does not fit this PyTorch.
    """
    try:
        from torchcodec.decoders import decode_jpeg  # pyright: ignore[reportMissingImports]  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UserError(
            f"torchcodec is not installed: `pip install -c constraints.txt -e '.[torchcodec]'`, or {INSTEAD}"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:  # built for another CUDA or PyTorch
        raise UserError(f"torchcodec does not fit PyTorch {torch.__version__} ({error}): {INSTEAD}") from None
    return decode_jpeg


def decoder(device: torch.device) -> Decode:
    """What decodes on `device`.

    Raises:
        UserError: the device is no CUDA GPU, or see `torchcodec`.
    """
    if device.type != "cuda":
        raise UserError(
            f"pretrain.jpeg_decoder torchcodec needs a CUDA GPU, pretrain.device is {device.type}: {INSTEAD}"
        )
    return torchcodec()
