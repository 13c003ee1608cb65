import io
import struct

import numpy as np
import PIL.Image
import pillow_heif
import pytest
from media_samples import encoded, grainy, noise, written

from pipelines.own import stills
from stages.runtime.errors import Rejected
from stages.storage import media

QUARTERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
# What a picture with this EXIF orientation shows: its quarters from top left to bottom right.
SHOWN = {
    1: "red green blue white",
    2: "green red white blue",
    3: "white blue green red",
    4: "blue white red green",
    5: "red blue green white",
    6: "blue red white green",
    7: "white green blue red",
    8: "green white red blue",
}
LOSSLESS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "JPEG": {"quality": 100}}


def quarters(side: int = 64) -> np.ndarray:
    return np.repeat(np.repeat(np.reshape(list(QUARTERS.values()), (2, 2, 3)), side, 0), side, 1).astype(np.uint8)


def seen(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    corners = [image[y, x] for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    names = {rgb: name for name, rgb in QUARTERS.items()}
    return " ".join(names[tuple(int(value > 127) * 255 for value in corner)] for corner in corners)


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_an_image_is_turned_as_a_viewer_shows_it(form, orientation):
    image = quarters()[:-16]  # wider than high
    data = written(image, form, exif={0x0112: orientation}, **LOSSLESS.get(form, {}))
    shown = stills.decode(data)
    assert seen(shown) == SHOWN[orientation]
    assert shown.shape == (image.shape if orientation < 5 else (*image.shape[1::-1], 3))


def heic(image: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(PIL.Image.fromarray(image)).save(file, quality=95, **settings)
    return file.getvalue()


def test_a_heic_of_tiles_is_read_whole():
    image = noise(320, 192)
    data = heic(image, tile_size=128)
    assert b"grid" in data
    assert data.count(b"hvc1") >= 6  # tiles
    assert np.abs(stills.decode(data).astype(int) - image).mean() < 3


def test_a_heic_is_read_upright():
    picture = PIL.Image.fromarray(quarters()[:-16])
    picture.getexif()[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "HEIF", quality=95)
    assert seen(stills.decode(file.getvalue())) in (SHOWN[6], SHOWN[1])


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {}),
        ("PPM", {}),
        ("AVIF", {"quality": 95}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_other_formats_are_read(form, settings):
    image = noise(160, 120)
    found = stills.decode(written(image, form, **settings))
    assert np.abs(found.astype(int) - image).mean() < 3


@pytest.mark.parametrize("extension", [".pgm", ".jp2", ".png", ".tif"])
def test_sixteen_bits_of_grey_become_eight(extension):
    grey = np.full((32, 48), 150 * 257, np.uint16)
    assert np.unique(stills.decode(encoded(grey, extension))).tolist() in ([150], [149, 150], [150, 151])


def test_old_bmps_are_read():
    image = noise(124, 77)
    pixels = image[::-1, :, ::-1].tobytes()
    head = struct.pack("<2sIHHIIHHHH", b"BM", 26 + len(pixels), 0, 0, 26, 12, 124, 77, 1, 24)
    assert np.array_equal(stills.decode(head + pixels), image)


@pytest.mark.parametrize("form", ["WEBP", "AVIF"])
def test_an_animated_image_is_a_reject(form):
    pictures = [PIL.Image.fromarray(noise(64, 48, seed)) for seed in range(3)]
    file = io.BytesIO()
    pictures[0].save(file, form, save_all=True, append_images=pictures[1:])
    with pytest.raises(Rejected, match="animated image: 3 pictures: save it as a video"):
        stills.decode(file.getvalue())


def test_a_tiff_of_several_pages_is_a_reject_but_its_thumbnail_is_no_page():
    page, other = (PIL.Image.fromarray(noise(64, 48, seed)) for seed in (1, 2))
    file = io.BytesIO()
    page.save(file, "TIFF", save_all=True, append_images=[other], tiffinfo={254: 0})
    with pytest.raises(Rejected, match="several pages: 2 in one TIFF"):
        stills.decode(file.getvalue())
    whole, smaller = (struct.pack("<HHII", 254, 4, 1, subfile_type) for subfile_type in (0, 1))
    first, second, third = file.getvalue().split(whole)
    assert np.array_equal(stills.decode(first + whole + second + smaller + third), np.asarray(page))


@pytest.mark.parametrize("form", ["WEBP", "AVIF", "HEIF", "JPEG2000", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_an_image_cut_short_is_a_reject(form, share):
    data = written(grainy(160, 120), form)
    with pytest.raises(Rejected):
        stills.decode(data[: int(share * len(data))])


def test_a_damaged_avif_is_a_reject():
    data = bytearray(written(grainy(320, 240), "AVIF"))
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    with pytest.raises(Rejected, match="image is damaged"):
        stills.decode(bytes(data))


def test_the_size_is_looked_at_before_anything_is_decoded(monkeypatch):
    header = b"P6 9000 9000 255\n"
    with pytest.raises(Rejected, match="9000x9000 px cannot be in"):
        stills.decode(header + bytes(1000))
    with pytest.raises(Rejected, match="too large: 9000x9000 px, at most 50000000 px of PPM"):
        stills.decode(header + bytes(100_000))
    monkeypatch.setattr(media, "MAX_SIDE_PX", 100)
    with pytest.raises(Rejected, match="too large: 160x120 px"):
        stills.decode(written(noise(160, 120), "HEIF"))


@pytest.mark.parametrize("data", [b"", b"no image", b"GIF89a" + bytes(100), b"<svg/>", bytes(5000)])
def test_other_files_are_no_images(data):
    with pytest.raises(Rejected, match="not an image: neither JPEG, PNG, BMP, TIFF, WebP, AVIF, HEIC"):
        stills.decode(data)


def test_a_photograph_is_known_by_its_content(tmp_path):
    for form in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF"):
        (tmp_path / "photo").write_bytes(written(noise(64, 48), form))
        assert stills.begins(tmp_path / "photo")
    (tmp_path / "photo").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    assert not stills.begins(tmp_path / "photo")
    assert not stills.begins(tmp_path / "gone")
