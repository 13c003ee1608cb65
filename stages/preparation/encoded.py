"""Encoded images with their rows of the index, as a worker packs them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fabnet.images import scale_pad_centre
from stages.runtime.params import CropParams, GeometryParams
from stages.storage import media

FEWEST_FRAMES = 2  # of a track: a source and a target frame


@dataclass(frozen=True)
class EncodedImage:
    """One image as JPEG, with its row of the index."""

    row: Mapping[str, Any]  # all columns of the index but those that locate the JPEG in its shard
    jpeg: bytes
    width_px: int
    height_px: int
    further: Mapping[int, bytes] = field(default_factory=dict[int, bytes])  # the same image by another side, px


class Tracked(Protocol):
    """A face track."""

    @property
    def identity_id(self) -> str: ...
    @property
    def video_id(self) -> str: ...
    @property
    def key(self) -> str: ...


def encode(
    row: Mapping[str, Any], image: media.Image, quality: int, further: Iterable[media.Image] = ()
) -> EncodedImage:
    """The image as JPEG, with its row, and `further` square ones that show the same in another size."""
    height, width = image.shape[:2]
    others = {len(other): media.encode_jpeg(other, quality) for other in further}
    return EncodedImage(row, media.encode_jpeg(image, quality), width, height, others)


def encode_frame(
    track: Tracked, number: int, frame: media.Image, crop: CropParams, geometry: GeometryParams
) -> EncodedImage:
    """The crop of frame `number` (at 25 fps) of a track, with its row of TRACK_FRAMES."""
    row = {
        "sample_id": frame_id(track, number),
        "identity_id": track.identity_id,
        "video_id": track.video_id,
        "track_id": track.key,
        "frame": number,
    }
    cropped = scale_pad_centre(frame, geometry.scale_px, geometry.pad_ltrb_px, geometry.centre_px)
    return encode(row, cropped, crop.jpeg_quality)


def frame_id(track: Tracked, number: int) -> str:
    """Name of a frame, unique within the data set."""
    return f"{track.key}/{number:07d}"
