"""Still images as cameras, phones and the web write them: upright, whole, (H, W, 3) uint8 RGB.

OpenCV decodes all formats but HEIC. Pillow tells what OpenCV does not: how large an image is before it is decoded,
whether it moves, and how an AVIF is turned.
"""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pillow_heif
from PIL import ImageOps, ImageSequence, UnidentifiedImageError

from stages.runtime.errors import Rejected
from stages.storage import headers, media
from stages.storage.media import Image

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif"}
    | {".hif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"}
)
MAX_PIXELS = 50_000_000  # of the formats whose decoders keep several copies of an image

_FORMATS = ("AVIF", "HEIF", "JPEG2000", "PPM", "TIFF", "WEBP")  # TIFF: with offsets of 64 bits
_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif")  # of HEIC and AVIF
_ORIENTATION, _SUBFILE_TYPE = 0x0112, 0x00FE  # tags of EXIF and TIFF; an odd type is a smaller copy of another page

pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
PIL.Image.MAX_IMAGE_PIXELS = None  # it would warn; `_check` rejects


def decode(data: bytes) -> Image:
    """The image as a viewer shows it, turned by its orientation.

    Raises:
        Rejected: another format, too large, empty, animated, of several pages, damaged or cut short.
    """
    if headers.is_known(data):
        image = media.decode_image(data, upright=True)
        if data[:2] in (b"II", b"MM") and (pages := _pages(data)) > 1:
            raise Rejected("several pages", f"{pages} in one TIFF: save each as an image of its own")
        return image
    with _opened(data) as picture:
        _check(picture, len(data))
        if picture.format == "HEIF":
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        image = media.decode_checked(data, upright=True)
        return _turned(image, picture) if picture.format == "AVIF" else image


def begins(path: Path) -> bool:
    """Whether the content of a file begins as that of a photograph does, whatever its name."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except (OSError, ValueError):
        return False
    return headers.is_known(head) or head[8:] == b"WEBP" or (head[4:8] == b"ftyp" and head[8:] in _BRANDS)


@contextmanager
def _opened(data: bytes) -> Generator[Any]:
    """The picture with its size, not decoded yet; whatever Pillow raises within is a reject."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            yield picture
    except Rejected:
        raise
    except UnidentifiedImageError:
        raise Rejected("not an image", "neither JPEG, PNG, BMP, TIFF, WebP, AVIF, HEIC, JPEG 2000 nor PPM") from None
    except Exception as error:  # damaged data ends in all kinds of them
        raise Rejected("image is damaged", str(error)) from None


def _check(picture: Any, size_bytes: int) -> None:
    width, height = picture.size
    media.check_pixels(width, height, size_bytes)
    if width * height > MAX_PIXELS:
        raise Rejected("image too large", f"{width}x{height} px, at most {MAX_PIXELS} px of {picture.format}")
    if picture.format in ("AVIF", "WEBP") and picture.n_frames > 1:
        raise Rejected("animated image", f"{picture.n_frames} pictures: save it as a video")


def _pages(data: bytes) -> int:
    """Pages of a TIFF besides thumbnails; 0 if Pillow cannot tell."""
    try:
        with _opened(data) as picture:
            pages: Any = ImageSequence.Iterator(picture)
            return sum(not page.tag_v2.get(_SUBFILE_TYPE, 0) & 1 for page in pages)
    except Rejected:
        return 0


def _turned(image: Image, picture: Any) -> Image:
    copy = PIL.Image.fromarray(image)
    copy.getexif()[_ORIENTATION] = picture.getexif().get(_ORIENTATION, 1)
    return np.asarray(ImageOps.exif_transpose(copy))
