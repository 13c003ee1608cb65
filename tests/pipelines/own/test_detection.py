import struct
import zlib

import numpy as np
import pytest
from media_samples import encoded, noise
from own_samples import image_file

from pipelines.own import detection, sources
from pipelines.own.detection import Face, FrameFaces, InputFrame
from pipelines.own.quality import Quality


def with_orientation(jpeg: bytes, value: int) -> bytes:
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize(("value", "turns"), [(1, 0), (6, 3), (3, 2), (8, 1)])
def test_an_image_is_turned_by_its_exif_orientation(tmp_path, value, turns):
    image = noise(64, 32)
    (tmp_path / "a.jpg").write_bytes(with_orientation(encoded(image), value))
    found = sources.read_image(tmp_path / "a.jpg")
    assert found.shape == np.rot90(image, turns).shape
    assert np.abs(found.astype(int) - np.rot90(image, turns)).mean() < 6


def test_batches_hold_every_frame_once_and_few_faces():
    face = Face((0, 0, 1, 1), None, (0, 0, 1, 1), np.zeros((1, 1, 3), np.uint8), Quality(0.0, 1, 0.0))
    detected = [FrameFaces(InputFrame(0, "a", number), (face,) * (number % 7)) for number in range(50)]
    batches = list(detection.batches(detected))
    assert [of for batch in batches for of in batch] == detected
    assert all(len(batch) <= detection.BATCH_FACES for batch in batches)
    assert all(sum(len(of.faces) for of in batch[:-1]) < detection.BATCH_FACES for batch in batches)


def test_a_png_is_read_upright(tmp_path):
    """Orientation 6 in a chunk of its own: turn clockwise."""
    image = np.arange(20 * 40 * 3, dtype=np.uint8).reshape(20, 40, 3)
    data = image_file(tmp_path / "a.png", image).read_bytes()
    exif = b"eXIf" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(sources.read_image(tmp_path / "a.png"), np.rot90(image, -1))
