import cv2
import numpy as np
import pytest
from media_samples import drawn_faces

from pipelines.own.quality import SIDE_PX, measure

IMAGE = drawn_faces(320, 240, (160, 120, 130))


def test_a_blurred_face_is_less_sharp():
    square = (96, 56, 224, 184)
    sharp, blurred = (measure(image, square).sharpness for image in (IMAGE, cv2.GaussianBlur(IMAGE, (9, 9), 3)))
    assert sharp > 3 * blurred > 0


def test_sharpness_is_the_variance_of_the_laplacian_at_the_fixed_side():
    crop = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    grey = np.pad(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(float), 1, mode="reflect")
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    expected = (neighbours - 4 * grey[1:-1, 1:-1]).var()
    assert measure(crop, (0, 0, SIDE_PX, SIDE_PX)).sharpness == pytest.approx(expected)


def test_a_larger_picture_of_the_same_face_is_as_sharp():
    square = (96, 56, 224, 184)
    larger = cv2.resize(IMAGE, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    one, other = measure(IMAGE, square), measure(larger, (288, 168, 672, 552))
    assert other.sharpness == pytest.approx(one.sharpness, rel=0.35)
    assert (one.side_px, other.side_px) == (128, 384)


def test_what_lies_outside_the_frame_is_counted_and_does_not_count_as_detail():
    plain = np.full((100, 100, 3), 200, np.uint8)
    found = measure(plain, (50, -25, 150, 75))
    assert found.outside_frac == pytest.approx(1 - 50 * 75 / 100**2)
    assert found.sharpness == 0
    assert measure(plain, (0, 0, 100, 100)).outside_frac == 0


def test_a_sliver_of_a_face_has_a_quality():
    assert measure(IMAGE, (319, 100, 519, 300)).outside_frac == pytest.approx(1 - 1 * 140 / 200**2)
