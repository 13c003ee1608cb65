"""The installed dlib finds what dlib 20.0.1, built from source with g++ on x86-64, found on the same images."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stages.detectors import dlib_hog
from stages.storage.media import Image
from stages.synthetic.renderer import identity, photo
from stages.synthetic.renderer.seeds import generator

SEED = "one detector, two builds"

# Person, expression and doublings: box and score.
RECORDED = {
    (0, "neutral", 0): ((37, 65, 163, 190), 1.752291027),
    (0, "neutral", 1): ((38, 67, 168, 197), 1.671806637),
    (1, "happy", 0): ((78, 95, 229, 245), 0.641170565),
    (1, "happy", 1): ((64, 98, 219, 254), 1.160112206),
    (2, "sad", 0): ((31, 100, 136, 205), 2.493598000),
    (2, "sad", 1): ((32, 92, 140, 200), 1.762949959),
    (3, "surprise", 0): ((78, 62, 229, 212), 1.052857891),
    (3, "surprise", 1): ((81, 64, 237, 220), 0.967113320),
    (4, "fear", 0): ((79, 107, 204, 232), 1.764352623),
    (4, "fear", 1): ((91, 116, 200, 224), 1.163401905),
    (5, "anger", 0): ((42, 54, 147, 159), 2.006223980),
    (5, "anger", 1): ((32, 44, 140, 153), 1.555706803),
}


@cache
def synthetic_face(person: int, emotion: str) -> Image:
    rng = generator(SEED, person)
    return rgb(photo.of_emotion(identity.draw(rng), rng, emotion=emotion, poses=photo.PoseRange()).image)


def rgb(rendered: Image) -> Image:
    return np.ascontiguousarray(rendered[..., ::-1])


@pytest.mark.parametrize(("person", "emotion", "doublings"), RECORDED)
def test_boxes_and_scores_are_those_of_a_build_from_source(person, emotion, doublings):
    box, score = RECORDED[person, emotion, doublings]
    found = dlib_hog.load(Path(), 0.0)(synthetic_face(person, emotion), doublings)
    assert found.boxes == [box]
    assert found.scores == pytest.approx([score], abs=1e-6)


@pytest.mark.parametrize("doublings", [0, 1])
def test_no_face_is_found_on_a_background_alone(doublings):
    image = rgb(photo.without_face(generator(SEED, "room")))
    assert dlib_hog.load(Path(), 0.0)(image, doublings) == ([], [])
