"""Decoded images and encoded JPEGs; size limits are checked before anything is decoded.

Arrays are (H, W, 3) uint8 RGB. What cannot be used raises `Rejected`.

Images: 16-bit samples become 8-bit, grey becomes three equal channels, alpha is dropped. An EXIF orientation
is ignored unless asked for: annotated boxes and points count the pixels as stored.
"""

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.runtime import limits
from stages.runtime.errors import Rejected
from stages.storage import headers, listening

Image = NDArray[np.uint8]

MAX_SIDE_PX = 16_384
MAX_PX_PER_BYTE = 2_000  # of an encoded image; the smoothest photographs have about 200
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm"}
    | {".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".mpv", ".vob", ".mod", ".tod", ".dv", ".mxf", ".rm", ".rmvb", ".gif"}
    | {".ts", ".mts", ".m2ts", ".m2t", ".trp", ".3gp", ".3g2", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".hevc"}
    | {".y4m", ".ivf", ".nut", ".wtv", ".dav", ".insv", ".lrv"}
)
# As libjpeg and libtiff say it; OpenCV's own words around it are left out.
_DAMAGE = re.compile(rb"(Corrupt JPEG data|Premature end of JPEG file|(?<=TIFF_Error )).*")
_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
SOURCE_FPS = 25  # frame numbers count at this rate, whatever the rate of the video


def read_file(path: Path) -> bytes:
    """All bytes of one image or clip.

    Raises:
        Rejected: no such file, unreadable, or larger than `limits.file_mib`.
    """
    try:
        check_size(path.stat().st_size)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Rejected("no such file") from None
    except (PermissionError, IsADirectoryError, ValueError) as error:
        raise Rejected("unreadable file", str(error)) from None


def check_size(size_bytes: int) -> None:
    """Whether an image or clip of so many bytes may be read.

    Raises:
        Rejected: it is larger than `limits.file_mib`.
    """
    if size_bytes > (most := limits.now().file_bytes):
        raise Rejected("file too large", f"{size_bytes} bytes, at most {most} are read")


def decode_image(data: bytes, *, upright: bool = False) -> Image:
    """One JPEG, PNG, BMP or TIFF image; `upright`: turned by its EXIF orientation. TIFF is always turned by its tag.

    What libjpeg and libtiff say of damage inside a scan or strip is a reject; they decode such data all the same.

    Raises:
        Rejected: another format, too large, empty, damaged or cut short.
    """
    check_image(data)
    return decode_checked(data, upright=upright)


def decode_checked(data: bytes, *, upright: bool = False) -> Image:
    """As `decode_image`, of any format that OpenCV reads; its size must have been checked.

    Raises:
        Rejected: damaged or cut short.
    """
    with listening.heard(_DAMAGE) as said:
        image = _decoded(data, upright)
    told = [line for line in said if not _is_padding(line, data)]
    if image is None or told:
        raise Rejected("image is damaged", told[0] if told else "")
    return image


def decode_stored(jpeg: bytes) -> Image:
    """As `decode_image`, of a JPEG that this project stored, so that damage inside it is not looked for.

    Several threads may do so at once; `decode_image` lets one go first.

    Raises:
        Rejected: cut short, or it cannot be decoded.
    """
    check_image(jpeg)
    if (image := _decoded(jpeg, upright=False)) is None:
        raise Rejected("image is damaged")
    return image


def check_image(data: bytes) -> None:
    """What can be found wrong without decoding.

    Raises:
        Rejected: another format, too large, empty, cut short, or of more pixels than its bytes can hold.
    """
    check_pixels(*headers.size(data), len(data))
    headers.check_end(data)


def check_pixels(width: int, height: int, size_bytes: int) -> None:
    """Whether an image of this size may be decoded from a file of this size.

    Raises:
        Rejected: empty, too large, or of more pixels than its bytes can hold.
    """
    if width < 1 or height < 1:
        raise Rejected("image has no pixels")
    if max(width, height) > MAX_SIDE_PX or width * height > limits.now().image_pixels:
        raise Rejected("image too large", f"{width}x{height} px")
    if width * height > MAX_PX_PER_BYTE * size_bytes:
        raise Rejected("image is damaged", f"{width}x{height} px cannot be in {size_bytes} bytes")


def encode_jpeg(image: Image, quality: int) -> bytes:
    """The image as baseline JPEG; equal pixels give equal bytes with one version of OpenCV."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f"OpenCV cannot encode an image of shape {image.shape}")
    return data.tobytes()


def grid_slot(number: int, fps: float) -> int:
    """Number of the interval of 1/fps seconds that frame `number` (at 25 fps) falls into; one frame of each is kept."""
    return int(number * fps / SOURCE_FPS + 1e-6)


def _decoded(data: bytes, upright: bool) -> Image | None:
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _is_padding(said: str, data: bytes) -> bool:
    """Whether libjpeg only tells of zeros between the end of the scan and the end marker, as some cameras write."""
    surplus = _SURPLUS.search(said)
    return surplus is not None and bytes(int(surplus[1])) + b"\xff\xd9" in data
