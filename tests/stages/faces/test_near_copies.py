import cv2
import numpy as np
import pytest

from stages.faces import near_copies
from stages.faces.near_copies import BITS, MOST


def picture(seed: int, size: int = 128) -> np.ndarray:
    """(size, size, 3) RGB: soft patches."""
    patches = np.random.default_rng(seed).integers(0, 255, (12, 12, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(patches, (size, size), interpolation=cv2.INTER_CUBIC))


def bits(image: np.ndarray) -> np.ndarray:
    return np.unpackbits(np.frombuffer(near_copies.digest(image), np.uint8))


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return int((bits(one) != bits(other)).sum())


def test_other_light_size_and_coding_keep_the_digest_and_another_picture_changes_it():
    image = picture(1)
    darker = (0.7 * image + 20).astype(np.uint8)
    smaller = np.asarray(cv2.resize(image, (90, 90), interpolation=cv2.INTER_AREA))
    coded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_COLOR)
    assert all(distance(image, other) <= MOST for other in (darker, smaller, np.asarray(coded)))
    assert distance(image, picture(2)) > 3 * MOST


def test_borders_do_not_make_pictures_alike():
    def framed(seed: int) -> np.ndarray:
        frame = np.zeros((256, 256, 3), np.uint8)
        frame[80:180, 80:180] = picture(seed, 100)
        return frame

    assert distance(framed(1), framed(2)) > 3 * MOST
    assert distance(framed(1), picture(1, 100)) <= MOST
    assert near_copies.digest(np.zeros((64, 64, 3), np.uint8)) == bytes(BITS // 8)  # nothing but border


def digest_of_all(image: np.ndarray) -> bytes:
    """The digest of an image of which nothing is left out."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = np.asarray(cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA))
    return np.packbits(np.diff(cells.astype(int), axis=1) > 0).tobytes()


def bordered(levels: tuple[int, int, int], side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A picture in a border whose first pixel, second pixel and others have these grey levels; the picture alone."""
    inner = picture(1, side) // 2 + 100
    frame = np.full((side + 50, side + 40, 3), levels[2], np.uint8)
    frame[0, 0], frame[0, 1] = levels[:2]
    frame[20 : 20 + side, 10 : 10 + side] = inner
    return frame, inner


def test_all_of_a_border_is_left_out_and_no_more_than_it():
    frame, inner = bordered((0, 0, 0))
    assert near_copies.digest(frame) == digest_of_all(inner)


def test_a_border_varies_by_12_levels_around_its_first_pixel():
    frame, inner = bordered((12, 0, 24))
    assert near_copies.digest(frame) == digest_of_all(inner)
    frame, _ = bordered((12, 0, 25))
    assert near_copies.digest(frame) == digest_of_all(frame)


@pytest.mark.parametrize(("side", "is_cut"), [(16, False), (17, True)])
def test_a_picture_of_fewer_pixels_than_the_digest_has_cells_keeps_its_border(side: int, is_cut: bool):
    frame, inner = bordered((0, 0, 0), side)
    assert near_copies.digest(frame) == digest_of_all(inner if is_cut else frame)


@pytest.mark.parametrize("rows", [3, near_copies.ROWS])
def test_groups_are_those_of_a_comparison_of_all_pairs(rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near_copies, "ROWS", rows)
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 2, (40, BITS)).repeat(4, axis=0)  # four of each, more and more bits of which are flipped
    for row, flips in enumerate(np.tile([0, MOST, MOST + 1, 2 * MOST], 40)):
        codes[row, rng.permutation(BITS)[:flips]] ^= 1
    codes = codes[rng.permutation(len(codes))]
    near = (codes[:, None] != codes[None]).sum(2) <= MOST
    expected = np.arange(len(codes))
    for _ in range(len(codes)):
        expected = np.array([expected[row].min() for row in near])
    pairs = near_copies.pairs(np.packbits(codes.astype(np.uint8), axis=1))
    assert pairs.bits.tolist() == (codes[pairs.one] != codes[pairs.other]).sum(1).tolist()
    assert len(pairs.one) == (near.sum() - len(codes)) / 2
    found = near_copies.groups(pairs, len(codes))
    assert found.tolist() == expected.tolist()
    assert 40 < len(set(found.tolist())) < 160
