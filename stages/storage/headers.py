"""Size of an image, and whether its file is whole, from its bytes alone: JPEG, PNG, BMP and TIFF."""

import struct

from stages.runtime.errors import Rejected
from stages.storage import jpegs

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
_BMP_MASKS, _BMP_USUAL = 3, (0xFF0000, 0xFF00, 0xFF)  # OpenCV reads any other order as this one
_MAX_CHUNKS = 1_000_000


def is_known(data: bytes) -> bool:
    """Whether the data begins as one of the four formats does."""
    return jpegs.is_jpeg(data) or data.startswith((_PNG, b"BM", *_TIFF))


def size(data: bytes) -> tuple[int, int]:
    """Width and height in px from the file's header alone.

    Raises:
        Rejected: none of the four formats, or no header.
    """
    try:
        if jpegs.is_jpeg(data):
            return jpegs.size(data)
        if data.startswith(_PNG):
            return struct.unpack(">II", data[16:24])
        if data.startswith(b"BM"):
            return _bmp_size(data)
        if data.startswith(_TIFF):
            return _tiff_size(data)
    except (struct.error, IndexError, KeyError):
        raise Rejected("image is cut short") from None
    raise Rejected("not an image", "neither JPEG, PNG, BMP nor TIFF")


def check_end(data: bytes) -> None:
    """Whether a JPEG or PNG ends, and can be decoded in the time that an image may take.

    Raises:
        Rejected: it is cut short, or has too many scans.
    """
    if jpegs.is_jpeg(data):
        jpegs.check(data)
    elif data.startswith(_PNG) and not _png_ends(data):
        raise Rejected("image is cut short")


def _png_ends(data: bytes) -> bool:
    """Whether its chunks follow each other up to the last one, and one of them holds pixels."""
    at, has_pixels, name = len(_PNG), False, b""
    for _ in range(_MAX_CHUNKS):
        if name == b"IEND" or at + 12 > len(data):
            break
        length, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        at += 12 + length
        has_pixels = has_pixels or name == b"IDAT"
    return has_pixels and name == b"IEND" and at <= len(data)


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack("<I", data[14:18])
    if header_bytes == 12:  # of OS/2 and Windows 2
        return struct.unpack("<HH", data[18:22])
    width, height, _, bits, compression = struct.unpack("<iiHHI", data[18:34])
    if (bits, compression) == (32, _BMP_MASKS) and struct.unpack("<III", data[54:66]) != _BMP_USUAL:
        raise Rejected("not an image", "a BMP with its colours in an order of its own: save it as PNG")
    return abs(width), abs(height)


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
