import struct
import zlib

import cv2
import numpy as np
import pytest
from media_samples import encoded, noise

from stages.runtime.errors import Rejected
from stages.storage import media


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".tif"])
def test_the_header_gives_width_and_height(extension):
    assert media.image_size(encoded(noise(123, 77), extension)) == (123, 77)


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tif"])
def test_lossless_images_are_decoded_exactly(extension):
    image = noise(50, 40)
    assert np.array_equal(media.decode_image(encoded(image, extension)), image)


def test_channels_are_red_green_blue_in_files_and_arrays():
    red = np.full((16, 16, 3), (220, 40, 10), np.uint8)
    stored = cv2.imdecode(np.frombuffer(media.encode_jpeg(red, 95), np.uint8), cv2.IMREAD_COLOR)  # blue, green, red
    assert stored[8, 8].tolist() == pytest.approx([10, 40, 220], abs=4)
    assert media.decode_image(media.encode_jpeg(red, 95))[8, 8].tolist() == pytest.approx([220, 40, 10], abs=4)


def test_a_progressive_jpeg_is_read():
    image = noise(160, 120)
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, 95])
    assert ok
    assert np.abs(media.decode_image(data.tobytes()).astype(int) - image).mean() < 3


def test_sixteen_bits_grey_and_alpha_become_three_channels_of_eight_bits():
    grey = np.full((20, 30), 300 * 128, np.uint16)
    assert np.unique(media.decode_image(encoded(grey, ".png"))).tolist() == [150]
    assert media.decode_image(encoded(grey, ".png")).shape == (20, 30, 3)
    colour = noise(30, 20)
    alpha = np.dstack([colour, np.zeros((20, 30), np.uint8)])
    assert np.array_equal(media.decode_image(encoded(alpha, ".png")), colour)


def test_exif_orientation_is_ignored():
    data = encoded(noise(64, 32))
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # turned by 90 degrees
    exif = b"Exif\0\0" + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert media.decode_image(turned).shape == (32, 64, 3)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_an_image_cut_short_is_rejected(extension, share):
    data = encoded(noise(300, 200), extension)
    with pytest.raises(Rejected, match=r"cut short|damaged"):
        media.decode_image(data[: int(len(data) * share)])


def test_a_huge_image_is_rejected_by_its_header():
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(Rejected, match="too large: 50000x50000"):
        media.decode_image(png)
    jpeg = bytearray(encoded(noise(64, 64)))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    with pytest.raises(Rejected, match="too large: 50000x50000"):
        media.decode_image(bytes(jpeg))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>not found</html>", b"\xff\xd8", b"BM", b"II*\0", bytes(5000)])
def test_files_that_are_not_images_are_rejected(data):
    with pytest.raises(Rejected):
        media.decode_image(data)


def test_missing_and_too_large_files_are_rejected(tmp_path, monkeypatch):
    with pytest.raises(Rejected, match="no such file"):
        media.read_file(tmp_path / "gone.jpg")
    monkeypatch.setattr(media, "MAX_FILE_BYTES", 10)
    (tmp_path / "big").write_bytes(bytes(11))
    with pytest.raises(Rejected, match="too large"):
        media.read_file(tmp_path / "big")
