import dlib
import numpy as np
import pytest

from fabnet.boxes import Box
from fabnet.pose import Pose
from stages.synthetic.renderer import expression, identity, photo, render
from stages.synthetic.renderer.background import draw_background
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.expression import EMOTIONS
from stages.synthetic.renderer.render import Frame
from stages.synthetic.renderer.seeds import generator

pytestmark = pytest.mark.slow

PEOPLE = 30
EMOTIONS_EACH = 2
UNTUNED = "never used to tune the renderer"  # name of the random streams


@pytest.fixture(scope="module")
def detector():
    return dlib.get_frontal_face_detector()


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def emotions(person: int) -> list[str]:
    """Two of the eight; misses depend on the person more than on the emotion, so many people matter more."""
    return [list(EMOTIONS)[(person + 4 * k) % len(EMOTIONS)] for k in range(EMOTIONS_EACH)]


def is_found(detector, frame: Frame) -> bool:
    truth = (*frame.landmarks.min(axis=0), *frame.landmarks.max(axis=0))
    found = detector(np.ascontiguousarray(frame.image[..., ::-1]), 0)
    return any(overlap((box.left(), box.top(), box.right(), box.bottom()), truth) > 0.4 for box in found)


def test_dlib_finds_faces_turned_less_than_30_degrees(detector):
    hits = []
    for number in range(PEOPLE):
        rng = generator(UNTUNED, number)
        person, background = identity.draw(rng), draw_background(rng, 256, 256)
        for emotion in emotions(number):
            pose = Pose.degrees(rng.uniform(-30, 30), rng.uniform(-15, 15), rng.uniform(-12, 12))
            centre = (float(rng.uniform(0.45, 0.55)), float(rng.uniform(0.49, 0.57)))
            camera = Camera.square(256, float(rng.uniform(0.24, 0.32)), centre)
            hits.append(
                is_found(
                    detector, render.frame(person, background, expression.draw(rng, emotion), pose, camera, rng=rng)
                )
            )
    assert np.mean(hits) >= 0.95


def test_dlib_finds_the_faces_of_still_images(detector):
    hits = []
    for number in range(PEOPLE):
        rng = generator(UNTUNED, "portrait", number)
        person = identity.draw(rng)
        hits += [
            is_found(detector, photo.of_emotion(person, rng, emotion=name, poses=photo.PoseRange()))
            for name in emotions(number)
        ]
    assert np.mean(hits) >= 0.95


def test_dlib_finds_no_face_in_a_background(detector):
    backgrounds = [photo.without_face(generator(UNTUNED, "room", number)) for number in range(60)]
    assert sum(len(detector(np.ascontiguousarray(image[..., ::-1]), 0)) for image in backgrounds) <= 1
