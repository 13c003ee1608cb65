import struct
import zlib

import numpy as np
import pytest
from media_samples import encoded, noise

from stages.runtime.errors import Rejected
from stages.storage import headers


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".tif"])
def test_the_header_gives_width_and_height(extension):
    assert headers.size(encoded(noise(123, 77), extension)) == (123, 77)


def test_the_header_of_an_old_bmp_gives_width_and_height():
    assert headers.size(old_bmp(noise(124, 77))) == (124, 77)


def old_bmp(image: np.ndarray) -> bytes:
    """As OS/2 and Windows 2 write it: sides of 16 bits."""
    height, width = image.shape[:2]
    pixels = image[::-1, :, ::-1].tobytes()  # bottom row first; a row of 124 px fills whole words
    return struct.pack("<2sIHHIIHHHH", b"BM", 26 + len(pixels), 0, 0, 26, 12, width, height, 1, 24) + pixels


def test_a_bmp_whose_colours_opencv_would_mix_up_is_rejected():
    def bmp(*masks: int) -> bytes:
        head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 66 + 64, 0, 0, 66, 40, 4, 4, 1, 32, 3, 64, 0, 0, 0, 0)
        return head + struct.pack("<III", *masks) + bytes(64)

    assert headers.size(bmp(0xFF0000, 0xFF00, 0xFF)) == (4, 4)
    with pytest.raises(Rejected, match="a BMP with its colours in an order of its own"):
        headers.size(bmp(0xFF, 0xFF00, 0xFF0000))


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_png_that_is_a_header_alone_is_cut_short():
    whole = encoded(noise(16, 16), ".png")
    headers.check_end(whole)
    for data in (whole[:24], whole[:33], whole[:33] + chunk(b"IEND"), whole[:-12], whole[:-1]):
        with pytest.raises(Rejected, match="cut short"):
            headers.check_end(data)


def test_a_png_chunk_longer_than_the_file_is_cut_short():
    data = bytearray(encoded(noise(16, 16), ".png"))
    data[data.index(b"IDAT") - 4] |= 0x40  # a gigabyte more
    with pytest.raises(Rejected, match="cut short"):
        headers.check_end(bytes(data))
