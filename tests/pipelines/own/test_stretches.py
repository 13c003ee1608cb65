from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import pytest
from media_samples import drawn_faces, noise

import fabnet
from fabnet.boxes import overlap
from pipelines.own import stretches
from pipelines.own.detection import FrameFaces, InputFrame, Search
from stages.runtime.errors import Rejected

PLAIN = noise(64, 64)


def clip(images: Sequence[np.ndarray], fps: float = 25, source: int = 0) -> Iterator[InputFrame]:
    for number, image in enumerate(images):
        yield InputFrame(source, "clip.mp4", number, number / fps, image)


def lengths(frames: Iterator[InputFrame], detect_every: int) -> list[int]:
    return [len(stretch) for stretch in stretches.stretches(frames, detect_every)]


@pytest.fixture
def found(model):
    def call(images: Sequence[np.ndarray], detect_every: int, **options: bool) -> list[FrameFaces]:
        search = Search(fabnet.load(model, "cpu").crop, detect_every=detect_every, **options)
        with closing(stretches.detect_all(clip(images), search)) as detected:
            return list(detected)

    return call


def test_the_first_and_the_last_frame_and_every_nth_are_searched():
    assert lengths(clip([PLAIN] * 9), 3) == [1, 3, 3, 2]
    assert lengths(clip([PLAIN] * 3), 1) == [1, 1, 1]


@pytest.mark.parametrize(("fps", "expected"), [(4.9, [1, 1, 1, 1, 1, 1]), (3, [1] * 6), (10, [1, 2, 2, 1])])
def test_frames_that_are_far_apart_are_all_searched(fps, expected):
    assert lengths(clip([PLAIN] * 6, fps), 6) == expected


def test_a_stretch_ends_with_its_shot():
    other = noise(64, 64, seed=1)
    shots = list(stretches.stretches(clip([PLAIN] * 4 + [other] * 4), 6))
    assert [[frame.number for frame in stretch] for stretch in shots] == [[0], [1, 2, 3], [4], [5, 6, 7]]
    assert [frame.number for stretch in shots for frame in stretch if frame.is_cut] == [4]


def test_a_stretch_ends_with_its_source_and_before_an_error():
    broken = InputFrame(1, "clip.mp4", 99, error=Rejected("video is damaged"))
    frames = [*clip([PLAIN] * 3), *clip([PLAIN] * 3, source=1), broken]
    assert lengths(iter(frames), 6) == [1, 2, 1, 2, 1]


def test_a_stretch_ends_where_the_size_of_the_frames_changes():
    assert lengths(clip([noise(64, 64)] * 3 + [noise(32, 32)] * 3), 6) == [1, 2, 1, 2]


def test_a_face_that_comes_or_goes_within_a_stretch_is_found_in_every_frame(found):
    left, right = (90, 120, 130), (250, 120, 120)
    images = [drawn_faces(340, 240, left, *([right] if 8 <= k < 15 else [])) for k in range(20)]
    sparse, every = found(images, 6), found(images, 1)
    assert [len(of.faces) for of in sparse] == [len(of.faces) for of in every] == [1] * 8 + [2] * 7 + [1] * 5


def test_boxes_between_two_searched_frames_are_those_of_the_detector(found):
    images = [drawn_faces(320, 240, (100 + 4 * k, 120, 130)) for k in range(13)]
    for between, detected in zip(found(images, 6), found(images, 1), strict=True):
        (one,), (other,) = between.faces, detected.faces
        assert overlap(one.box, other.box) > 0.75
        assert one.is_interpolated == (between.frame.number % 6 > 0)
        assert one.crop.shape == other.crop.shape


def test_the_largest_face_is_the_largest_of_every_frame(found):
    images = [drawn_faces(420, 260, (110, 130, 120 + 4 * k), (310, 130, 150)) for k in range(13)]
    largest = [of.faces[0].box for of in found(images, 6, is_largest_only=True)]
    assert all(len(of.faces) == 1 for of in found(images, 6, is_largest_only=True))
    assert largest[0][0] > 200 > largest[-1][0]


def test_every_frame_that_is_too_small_says_so(found):
    tiny = [np.zeros((8, 8, 3), np.uint8)] * 4
    assert [str(of.error) for of in found(tiny, 6)] == [
        "image too small: 8x8 px, at least 16 px each way are needed"
    ] * 4
