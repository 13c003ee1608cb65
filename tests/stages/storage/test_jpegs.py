import time

import cv2
import numpy as np
import pytest
from media_samples import encoded, grainy, noise, written

from stages.runtime.errors import Rejected
from stages.storage import jpegs


def progressive() -> bytes:
    ok, data = cv2.imencode(".jpg", noise(160, 120), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert ok
    return data.tobytes()


def test_a_jpeg_with_too_many_scans_is_rejected():
    data = progressive()
    jpegs.check(data)
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(Rejected, match=r"too many scans: \d+, at most 100 are decoded"):
        jpegs.check(data[:-2] + jpegs.MAX_SCANS * last + data[-2:])


def test_markers_inside_a_scan_or_a_comment_are_no_scans():
    data = encoded(noise(160, 120))
    comment = b"\xff\xfe\x01\x92" + 200 * b"\xff\xda"
    jpegs.check(data[:2] + comment + data[2:])


def test_fill_bytes_and_empty_segments_take_no_time():
    data = encoded(noise(160, 120))
    start = time.process_time()
    assert jpegs.size(data[:2] + bytes(1) + b"\xff" * 20_000_000 + data[2:]) == (160, 120)
    with pytest.raises(Rejected, match="more than 10000 segments"):
        jpegs.size(data[:2] + 1_000_000 * b"\xff\xfe\x00\x02" + data[2:])
    assert time.process_time() - start < 2


def test_a_jpeg_without_an_end_marker_is_cut_short():
    with pytest.raises(Rejected, match="cut short"):
        jpegs.check(encoded(noise(160, 120))[:-2])


@pytest.mark.parametrize("size", [129, 512, 4096])
@pytest.mark.parametrize("settings", [{}, {"subsampling": 0, "quality": 95}, {"restart_marker_rows": 1}])
def test_a_hole_of_zeros_is_found_wherever_it_is(settings, size):
    data = written(grainy(320, 240), "JPEG", **settings)
    for at in range(data.index(b"\xff\xda") + 20, len(data) - size - 20, 1000):
        with pytest.raises(Rejected, match="zeros follow each other where pixels should be"):
            jpegs.check(data[:at] + bytes(size) + data[at + size :])


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("settings", [{}, {"optimize": True}, {"progressive": True}, {"quality": 100}])
def test_flat_pictures_have_no_hole(settings, mode):
    for image in (
        np.zeros((600, 800, 3), np.uint8),
        np.full((600, 800, 3), 128, np.uint8),
        noise(32, 32).repeat(30, 0),
    ):
        jpegs.check(written(image, "JPEG", mode=mode, **settings))


def test_zeros_in_a_comment_before_the_end_or_behind_it_are_no_hole():
    data = encoded(noise(160, 120))
    jpegs.check(data[:2] + b"\xff\xfe\x10\x02" + bytes(4096) + data[2:-2] + bytes(4096) + data[-2:] + bytes(4096))
