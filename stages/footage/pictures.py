"""A decoded frame as a player shows it: with square pixels, turned and mirrored as the metadata say."""

import struct
from fractions import Fraction
from typing import Any

import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter

from stages.runtime.errors import Rejected
from stages.storage.media import Image

MAX_SIDE_PX = 8_192
MAX_PIXELS = 8_192 * 4_320


class Pictures:
    """Turns the frames of one stream into images."""

    def __init__(self, stream: Any) -> None:
        """The stream is open for decoding."""
        self._context, self._to_rgb = stream.codec_context, VideoReformatter()
        announced = stream.sample_aspect_ratio or Fraction(1)
        coded = self._context.sample_aspect_ratio or Fraction(1)
        self._of_container = announced if announced != coded else None  # it overrules what the codec says
        check_size(self._context.width, self._context.height)

    def image(self, frame: Any) -> Image:
        """(H, W, 3) uint8 RGB.

        Raises:
            Rejected: it is too large, or of a kind that cannot be converted.
        """
        width, height = frame.width, frame.height
        check_size(width, height)
        aspect = self._of_container or self._context.sample_aspect_ratio or Fraction(1)  # width of a pixel / its height
        if aspect > 0 and aspect != 1:
            width = max(1, round(width * aspect))
            check_size(width, height)
        try:
            rgb = self._to_rgb.reformat(frame, width, height, format="rgb24", threads=1)
        except FFmpegError as error:
            raise Rejected("unreadable video", str(error.strerror)) from None
        return turned(np.asarray(rgb.to_ndarray(), np.uint8), _matrix(frame))


def check_size(width: int, height: int) -> None:
    """Check that a frame is not too large to decode.

    Raises:
        Rejected: it is.
    """
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise Rejected("video too large", f"{width}x{height} px")


def turned(image: Image, matrix: tuple[int, int, int, int]) -> Image:
    """The image in the one of the eight orientations that is nearest to a display matrix.

    Args:
        image: (H, W, 3).
        matrix: (a, b, c, d): a pixel at (x, y), y down, is shown at (a x + c y, b x + d y), moved into view.
    """
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    # `frame.side_data` and the frame would refer to each other; its pixels then stay until Python looks for circles.
    side_data: Any = SideDataContainer
    found = side_data(frame).get("DISPLAYMATRIX")
    if found is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack_from("=5i", bytes(found))
    return a, b, c, d
