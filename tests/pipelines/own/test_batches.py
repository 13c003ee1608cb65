from contextlib import closing

import numpy as np
import pytest
from media_samples import drawn_faces, noise
from own_samples import image_file

import fabnet
from pipelines.own import batches, detection, stretches
from pipelines.own.detection import InputFrame, Search
from stages.faces.detection import detector
from stages.runtime.errors import Rejected

SMALL, LARGE = (60, 50, 50), (60, 60, 110)  # a drawn face that is found in the enlarged image alone, and one in any


def clip(images):
    return [InputFrame(0, "clip.mp4", number, number / 25, image) for number, image in enumerate(images)]


@pytest.fixture
def search(model):
    return Search(fabnet.load(model, "cpu").crop, detect_every=1)


@pytest.fixture
def at_once():
    """The size, doublings and number of images of each batch."""
    return []


@pytest.fixture
def batched(search, at_once):
    """Stands for a detector that a GPU makes faster in batches; searches them one by one."""
    find = detector(search.crop.detector, search.weights, search.crop.min_score)

    def call(images, upsample):
        (shape,) = {image.shape for image in images}
        at_once.append((shape[:2], upsample, len(images)))
        return [find(image, upsample) for image in images]

    return call


def test_frames_of_one_size_are_searched_at_once_and_again_where_no_face_is_found(search, batched, at_once):
    images = [drawn_faces(120, 120, face) for face in (LARGE, SMALL, LARGE, SMALL)] + [noise(64, 64)]
    together = batches.detect(clip(images), search, batched)
    alone = [detection.detect(frame, search) for frame in clip(images)]
    for one, other in zip(together, alone, strict=True):
        assert (one.frame, one.error) == (other.frame, other.error)
        assert [face.box for face in one.faces] == [face.box for face in other.faces]
    assert [len(of.faces) for of in together] == [1, 1, 1, 1, 0]
    assert at_once == [((120, 120), 0, 4), ((120, 120), 1, 2), ((64, 64), 0, 1), ((64, 64), 1, 1)]


def test_frames_without_an_image_to_search_are_told_apart(tmp_path, search, batched, at_once):
    path = image_file(tmp_path / "face.png", drawn_faces(120, 120, LARGE))
    frames = [
        InputFrame(0, "cut.mp4", 7, error=Rejected("video is cut short")),
        *clip([np.zeros((8, 8, 3), np.uint8)]),
        InputFrame(1, str(path), 0),
    ]
    cut, tiny, still = batches.detect(frames, search, batched)
    assert str(cut.error) == "video is cut short"
    assert str(tiny.error) == "image too small: 8x8 px, at least 16 px each way are needed"
    assert (len(still.faces), at_once) == (1, [])


def test_frames_wait_for_each_other_and_come_in_their_order(monkeypatch, search, batched, at_once):
    images = [drawn_faces(130, 120, (60 + number % 9, 60, 110)) for number in range(20)]
    with closing(stretches.detect_all(clip(images), search)) as detected:
        expected = [(of.frame.number, of.faces[0].box) for of in detected]
    monkeypatch.setattr(stretches, "batched", lambda *_: batched)
    with closing(stretches.detect_all(clip(images), search)) as detected:
        assert [(of.frame.number, of.faces[0].box) for of in detected] == expected
    assert [count for _, _, count in at_once] == [batches.FRAMES, batches.FRAMES, 4]


def test_nothing_is_searched_twice(search, batched, at_once):
    submit = batches.Batches(search, batched).submit
    waiting = [submit(frame) for frame in clip([drawn_faces(120, 120, LARGE)] * 3)]
    assert [len(wait().faces) for wait in (waiting[2], waiting[0], waiting[1])] == [1, 1, 1]
    assert at_once == [((120, 120), 0, 3)]
