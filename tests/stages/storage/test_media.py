import struct
import zlib

import cv2
import numpy as np
import pytest
from media_samples import damaged, encoded, grainy, noise, written

from stages.runtime import limits
from stages.runtime.errors import Rejected
from stages.runtime.limits import Limits
from stages.storage import media


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


def test_exif_orientation_is_ignored_unless_it_is_asked_for():
    image = noise(64, 32)
    turned = written(image, "JPEG", exif={0x0112: 6})  # by 90 degrees
    assert media.decode_image(turned).shape == (32, 64, 3)
    assert np.abs(media.decode_image(turned, upright=True).astype(int) - np.rot90(image, -1)).mean() < 5


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


def test_more_pixels_than_the_bytes_can_hold_are_rejected():
    jpeg = bytearray(encoded(noise(64, 64)))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 9_000, 9_000)
    tiff = bytearray(encoded(noise(16, 16), ".tif"))
    (directory,) = struct.unpack("<I", tiff[4:8])
    for entry in range(directory + 2, directory + 26, 12):
        if struct.unpack("<H", tiff[entry : entry + 2])[0] in (256, 257):  # width and height
            tiff[entry : entry + 12] = struct.pack("<HHII", *struct.unpack("<HH", tiff[entry : entry + 4]), 1, 9_000)
    for data in (bytes(jpeg), bytes(tiff)):
        with pytest.raises(Rejected, match=f"damaged: 9000x9000 px cannot be in {len(data)} bytes"):
            media.decode_image(data)


SCENES = {
    "baseline": {"quality": 90},
    "optimised tables": {"quality": 80, "optimize": True},
    "progressive": {"quality": 85, "progressive": True},
    "no subsampling": {"quality": 95, "subsampling": 0},
    "restart markers": {"quality": 85, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("settings", SCENES.values(), ids=SCENES)
def test_a_jpeg_damaged_inside_is_rejected_with_what_libjpeg_says(settings):
    whole, other = (written(grainy(320, 240, seed), "JPEG", **settings) for seed in (1, 2))
    media.decode_image(whole)
    # Where a refining scan of a progressive JPEG lacks bytes, little is to be seen and nothing to be found.
    kinds = ("noise", "cut and ended", "joined") + (() if "progressive" in settings else ("zeros", "missing"))
    for kind in kinds:
        for seed in range(4):
            with pytest.raises(Rejected, match=r"image is (damaged|cut short)"):
                media.decode_image(damaged(whole, kind, np.random.default_rng(seed), other))


def test_the_reject_of_a_damaged_jpeg_says_what_was_found(capfd):
    hole = damaged(written(grainy(320, 240), "JPEG"), "cut and ended", np.random.default_rng(0))
    with pytest.raises(Rejected) as rejected:
        media.decode_image(hole)
    assert str(rejected.value) == "image is damaged: Corrupt JPEG data: premature end of data segment"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("settings", [*SCENES.values(), {"grey": True}, {"cmyk": True}])
def test_a_whole_jpeg_is_decoded_to_the_pixels_of_opencv(settings):
    modes = {"grey": "L", "cmyk": "CMYK"}
    mode = next((modes[name] for name in settings if name in modes), "RGB")
    data = written(grainy(320, 240), "JPEG", mode=mode, **{k: v for k, v in settings.items() if k not in modes})
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert np.array_equal(media.decode_image(data), expected)
    assert np.array_equal(media.decode_stored(data), expected)


@pytest.mark.parametrize("extra", [b"\xff" * 50, bytes(50)], ids=["fill bytes", "zeros"])
def test_padding_before_the_end_marker_is_no_damage(extra):
    data = encoded(noise(160, 120))
    assert np.array_equal(media.decode_image(data[:-2] + extra + data[-2:]), media.decode_image(data))


def test_what_follows_the_end_marker_is_no_damage():
    data = encoded(noise(160, 120))
    assert np.array_equal(media.decode_image(data + data[:500]), media.decode_image(data))


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_a_tiff_damaged_inside_is_rejected(compression):
    data = written(grainy(320, 240), "TIFF", compression=compression)
    media.decode_image(data)
    hole = bytearray(data)
    hole[len(data) // 2 : len(data) // 2 + 600] = np.random.default_rng(0).bytes(600)
    with pytest.raises(Rejected, match=r"image is damaged: \w+"):
        media.decode_image(bytes(hole))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>not found</html>", b"\xff\xd8", b"BM", b"II*\0", bytes(5000)])
def test_files_that_are_not_images_are_rejected(data):
    with pytest.raises(Rejected):
        media.decode_image(data)


def test_missing_and_too_large_files_are_rejected(tmp_path, monkeypatch):
    with pytest.raises(Rejected, match="no such file"):
        media.read_file(tmp_path / "gone.jpg")
    monkeypatch.setattr(limits, "_now", Limits(file_mib=1e-5))
    (tmp_path / "big").write_bytes(bytes(11))
    with pytest.raises(Rejected, match="too large"):
        media.read_file(tmp_path / "big")
