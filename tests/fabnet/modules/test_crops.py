import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from fabnet.modules.crops import _crop_by_weights, central_squares, crop_and_resize, draw_squares, resize
from fabnet.training.pairs import stack


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_pil(image: np.ndarray, size_px: int) -> np.ndarray:
    """(size_px, size_px, 3) in [0, 1], one channel at a time, so that nothing is rounded."""
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(image, 2, 0)]
    scaled = [np.asarray(channel.resize((size_px, size_px), Image.Resampling.BILINEAR)) for channel in channels]
    return np.stack(scaled, axis=2) / 255


def cropped(image: np.ndarray, box: tuple[int, int, int, int], size_px: int) -> np.ndarray:
    boxes = torch.tensor([box], dtype=torch.float32)
    return crop_and_resize(torch.from_numpy(image)[None], boxes, size_px)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("side", [32, 64, 150, 190, 200])
@pytest.mark.parametrize("size_px", [32, 64, 256])
def test_cropping_agrees_with_pil(side: int, size_px: int):
    image = noise(224, 210)
    x0, y0 = 224 - side, 210 - side  # down to the lower right corner
    expected = by_pil(image[y0:, x0:], size_px)
    assert cropped(image, (x0, y0, x0 + side, y0 + side), size_px) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size_px", [32, 64, 180, 256])
def test_cropping_all_images_at_once_agrees_with_one_by_one(size_px: int):
    images = stack([noise(210, 200, 1), noise(224, 224, 2), noise(190, 190, 3)])
    boxes = torch.tensor([(20, 10, 200, 190), (0, 0, 224, 224), (3, 4, 51, 52)], dtype=torch.float32)
    at_once, one_by_one = _crop_by_weights(images, boxes, size_px), crop_and_resize(images, boxes, size_px)
    assert at_once.numpy() == pytest.approx(one_by_one.numpy(), abs=1e-5)


def test_a_crop_at_its_own_size_is_the_pixels():
    image = noise(80, 70)
    assert cropped(image, (13, 5, 45, 37), 32) == pytest.approx(image[5:37, 13:45] / 255, abs=1e-6)


def test_growing_agrees_with_opencv():
    image = noise(40, 40)
    expected = cv2.resize(image.astype(np.float32), (64, 64), interpolation=cv2.INTER_LINEAR) / 255
    assert cropped(image, (0, 0, 40, 40), 64) == pytest.approx(expected, abs=1e-5)


def test_pixels_outside_the_box_do_not_matter():
    image = noise(60, 60)
    black = np.zeros_like(image)
    black[10:50, 5:45] = image[10:50, 5:45]
    for size_px in (32, 64):
        assert np.array_equal(cropped(image, (5, 10, 45, 50), size_px), cropped(black, (5, 10, 45, 50), size_px))


def test_images_of_other_sizes_in_the_batch_do_not_matter():
    images = [noise(50, 60, 1), noise(256, 256, 2), noise(190, 190, 3)]
    boxes = [(10, 20, 50, 60), (3, 4, 203, 204), (0, 0, 190, 190)]
    together = crop_and_resize(stack(images), torch.tensor(boxes, dtype=torch.float32), 64)
    for crop, image, box in zip(together, images, boxes, strict=True):
        assert crop.permute(1, 2, 0).numpy() == pytest.approx(cropped(image, box, 64), abs=1e-6)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (100, 300), (40, 90), (64, 64)])
def test_resizing_agrees_with_pil(width: int, height: int):
    image = noise(width, height)
    ours = resize(torch.from_numpy(image)[None], 64)[0].permute(1, 2, 0).numpy()
    assert ours == pytest.approx(by_pil(image, 64), abs=1e-5)


def test_squares_are_inside_their_images_and_their_sides_in_the_range():
    count = 5000
    rng = np.random.default_rng(0)
    sizes, jitter = rng.integers(20, 40, (count, 2)), np.tile([15, 20], (count, 1))
    boxes = draw_squares(sizes, jitter, rng)
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= sizes).all()
    assert (sides[:, 0] == sides[:, 1]).all()
    assert sorted(set(sides[:, 0])) == [15, 16, 17, 18, 19, 20]
    assert (boxes == boxes.round()).all()


def test_squares_reach_every_edge():
    sizes, jitter = np.tile([12, 11], (2000, 1)), np.tile([10, 10], (2000, 1))
    boxes = draw_squares(sizes, jitter, np.random.default_rng(0))
    assert {tuple(box[:2]) for box in boxes} == {(x, y) for x in (0, 1, 2) for y in (0, 1)}


def test_an_image_below_the_range_gives_its_shorter_side():
    boxes = draw_squares(np.array([[30, 25]]), np.array([[40, 50]]), np.random.default_rng(0))
    assert (boxes[0, 2:] - boxes[0, :2]).tolist() == [25, 25]


def test_the_crop_of_a_frame_is_central_with_the_mean_side():
    sizes, jitter = np.array([[200, 100], [30, 30]]), np.array([[40, 60], [40, 60]])
    assert central_squares(sizes, jitter).tolist() == [[75, 25, 125, 75], [0, 0, 30, 30]]
