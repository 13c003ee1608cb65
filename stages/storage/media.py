"""Decoded images and encoded JPEGs; size limits are checked before anything is decoded.

Arrays are (H, W, 3) uint8 RGB. What cannot be used raises `Rejected`.

Images: 16-bit samples become 8-bit, grey becomes three equal channels, alpha is dropped. An EXIF orientation
is ignored: annotated boxes and points count the pixels as stored.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.runtime.errors import Rejected

Image = NDArray[np.uint8]

MAX_FILE_BYTES = 256 * 2**20
MAX_SIDE_PX = 16_384
MAX_PIXELS = 100_000_000
MAX_VIDEO_S = 1_800
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".asf", ".3gp", ".3g2", ".ts", ".mts"}
    | {".m2ts", ".m2v", ".flv", ".ogv", ".gif", ".webp"}
)
SOURCE_FPS = 25  # frame numbers count at this rate, whatever the rate of the video


def read_file(path: Path) -> bytes:
    """All bytes of one image or clip.

    Raises:
        Rejected: no such file, unreadable, or larger than MAX_FILE_BYTES.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise Rejected("file too large", f"{size} bytes, at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Rejected("no such file") from None
    except (PermissionError, IsADirectoryError, ValueError) as error:
        raise Rejected("unreadable file", str(error)) from None


def decode_image(data: bytes) -> Image:
    """One JPEG, PNG, BMP or TIFF image.

    Raises:
        Rejected: another format, too large, empty, damaged or cut short.
    """
    check_image(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None:
        raise Rejected("image is damaged")
    return np.asarray(image, np.uint8)


def check_image(data: bytes) -> None:
    """What can be found wrong without decoding.

    Raises:
        Rejected: another format, too large, empty or cut short.
    """
    _check_size(*image_size(data), MAX_SIDE_PX)
    if data.startswith(b"\xff\xd8") and not _jpeg_ends(data):
        raise Rejected("image is cut short")


def encode_jpeg(image: Image, quality: int) -> bytes:
    """The image as baseline JPEG; equal pixels give equal bytes with one version of OpenCV."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f"OpenCV cannot encode an image of shape {image.shape}")
    return data.tobytes()


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height in px from the file's header alone.

    Raises:
        Rejected: none of the known formats, or no header.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", data[16:24])
        if data.startswith(b"BM"):
            width, height = struct.unpack("<ii", data[18:26])
            return abs(width), abs(height)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
    except (struct.error, IndexError, KeyError):
        raise Rejected("image is cut short") from None
    raise Rejected("not an image", "neither JPEG, PNG, BMP nor TIFF")


def grid_slot(number: int, fps: float) -> int:
    """Number of the interval of 1/fps seconds that frame `number` (at 25 fps) falls into; one frame of each is kept."""
    return int(number * fps / SOURCE_FPS + 1e-6)


def _check_size(width: int, height: int, max_side_px: int) -> None:
    if width < 1 or height < 1:
        raise Rejected("image has no pixels")
    if max(width, height) > max_side_px or width * height > MAX_PIXELS:
        raise Rejected("image too large", f"{width}x{height} px")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and offset of the payload of every segment up to the first scan, or to where the data ends."""
    at = 2
    while at + 1 < len(data):
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            at += 1
            continue
        marker = data[at + 1]
        yield marker, at + 4
        if marker == 0xDA:
            return
        standalone = marker == 0x01 or 0xD0 <= marker <= 0xD9
        at += 2 if standalone else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def _jpeg_size(data: bytes) -> tuple[int, int]:
    for marker, payload in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[payload + 1 : payload + 5])
            return width, height
    raise Rejected("image is cut short")


def _jpeg_ends(data: bytes) -> bool:
    """Whether the end marker follows the first scan; these two bytes never follow each other inside a scan."""
    scans = [payload for marker, payload in _jpeg_segments(data) if marker == 0xDA]
    return bool(scans) and data.rfind(b"\xff\xd9", scans[0]) >= 0


def _tiff_size(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack(f"{order}I", data[4:8])
    (count,) = struct.unpack(f"{order}H", data[directory : directory + 2])
    found: dict[int, int] = {}
    for entry in range(count):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack(f"{order}HH", data[at : at + 4])
        form, length = ("H", 2) if kind == 3 else ("I", 4)
        found[tag] = struct.unpack(f"{order}{form}", data[at + 8 : at + 8 + length])[0]
    return found[256], found[257]
