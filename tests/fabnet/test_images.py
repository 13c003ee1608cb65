import tracemalloc

import cv2
import numpy as np
import pytest

from fabnet import boxes, images

CROPS = {"voxceleb1": (256, (0, 0, 0, 0), 256), "voxceleb2": (256, (20, 80, 20, 30), 190)}


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def padded_by_hand(image: np.ndarray, pad: tuple[int, int, int, int], centre: int) -> np.ndarray:
    left, top, right, bottom = pad
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)))
    y, x = (padded.shape[0] - centre) // 2, (padded.shape[1] - centre) // 2
    return padded[y : y + centre, x : x + centre]


def test_cut_copies_inside_and_is_black_outside():
    image = noise(8, 6)
    piece = images.cut(image, (-2, 3, 5, 9))
    assert piece.shape == (6, 7, 3)
    assert np.array_equal(piece[:3, 2:], image[3:6, :5])
    assert not piece[:, :2].any()
    assert not piece[3:].any()
    assert not images.cut(image, (20, 20, 24, 24)).any()


def test_a_face_crop_is_black_outside_averaged_where_it_shrinks_and_linear_where_it_grows():
    image = noise(40, 40)
    crop = images.face_crop(image, (-20, 0, 20, 40), 20)
    assert not crop[:, :10].any()
    assert crop[3, 14] == pytest.approx(image[6:8, 8:10].mean(axis=(0, 1)), abs=1)
    steps = np.zeros((2, 2, 3), np.uint8)
    steps[:, 1] = 200
    assert images.face_crop(steps, (0, 0, 2, 2), 4)[0, :, 0].tolist() == [0, 50, 150, 200]


def test_a_box_of_65000_px_takes_little_memory():
    tracemalloc.start()
    try:
        crop = images.face_crop(np.full((4, 16_384, 3), 200, np.uint8), (-30_000, -30_000, 35_000, 35_000), 64)
        assert tracemalloc.get_traced_memory()[1] < 250e6
    finally:
        tracemalloc.stop()
    assert crop.shape == (64, 64, 3)


def test_a_large_box_gives_the_crop_of_the_whole_cut(monkeypatch):
    image = cv2.resize(noise(12, 9), (1200, 900), interpolation=cv2.INTER_CUBIC)
    box = (-151, 37, 1040, 1228)
    expected = images.face_crop(image, box, 64)
    monkeypatch.setattr(images, "MAX_CUT_PX", 400)
    assert np.abs(images.face_crop(image, box, 64).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("dataset", CROPS)
def test_the_crop_of_a_track_equals_padding_and_cutting(dataset):
    scale, pad, centre = CROPS[dataset]
    image = noise(256, 256)
    assert np.array_equal(images.scale_pad_centre(image, scale, pad, centre), padded_by_hand(image, pad, centre))


def test_a_dot_in_a_voxceleb2_frame_moves_as_computed_by_hand():
    frame = np.zeros((224, 224, 3), np.uint8)
    frame[97:100, 69:72] = 255  # centre of the dot: pixel (70, 98)
    crop = images.scale_pad_centre(frame, *CROPS["voxceleb2"])
    # (70.5 * 256 / 224 - 33 - 0.5, 98.5 * 256 / 224 - 8 - 0.5)
    assert centroid(crop) == pytest.approx((47.071, 104.071), abs=0.02)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (300, 500), (128, 512), (97, 33)])
def test_a_dot_moves_as_computed_by_algebra(width, height):
    box = (11, 7, 11 + width, 7 + height)
    image = np.zeros((height + 40, width + 40, 3), np.uint8)
    x, y = 11 + width // 3, 7 + height // 2
    image[y - 4 : y + 5, x - 4 : x + 5] = 255
    moved = boxes.follow(np.array([[x, y]], float), box, 256)[0]
    assert centroid(images.resize(images.cut(image, box), 256, 256)) == pytest.approx(moved, abs=0.1)


def test_resizing_to_the_same_size_changes_nothing():
    image = noise(31, 17)
    assert np.array_equal(images.resize(image, 31, 17), image)


def test_shrinking_averages_the_area():
    image = noise(64, 32)
    expected = image.reshape(16, 2, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(images.resize(image, 16, 16) - expected).max() <= 1


def test_shrinking_one_side_while_the_other_grows_averages_only_the_first():
    image = np.zeros((2, 8, 3), np.uint8)
    image[:, ::2] = 200
    assert np.unique(images.resize(image, 4, 4)).tolist() == [100]


def centroid(image: np.ndarray) -> tuple[float, float]:
    weight = image[..., 0].astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())
