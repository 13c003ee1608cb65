import numpy as np
import pytest
from probe_problems import first_problems

from fabnet.probe_head import Crops
from fabnet.probes import points

CROP = Crops(size_px=np.array([[256.0, 256.0]]), source_xyxy_px=np.array([[100.0, 50.0, 612.0, 178.0]]))


def test_the_edges_of_the_crop_are_minus_one_and_one():
    labels = np.array([[-0.5, -0.5, 255.5, 255.5, 127.5, 127.5]])  # outer edges of the corner pixels, and the middle
    assert points.encode(labels, CROP, 0)[0].tolist() == [-1, -1, 1, 1, 0, 0]


def test_decoding_gives_pixels_of_the_source():
    # 512 x 128 px of the source, stored as 256 x 256: a step of 10 px is 20 px along x and 5 px along y
    labels = np.array([[0.0, 0.0, 10.0, 10.0]])
    decoded = points.decode(points.encode(labels, CROP, 0), CROP)[0]
    assert decoded.tolist() == pytest.approx([100.5, 49.75, 120.5, 54.75])


def test_no_faces_have_no_points():
    none = Crops(size_px=np.zeros((0, 2)), source_xyxy_px=np.zeros((0, 4)))
    assert points.encode(np.zeros((0, 10)), none, 0).shape == (0, 10)
    assert points.decode(np.zeros((0, 10)), none).shape == (0, 10)


def test_points_that_cannot_be_scored_are_a_problem():
    face = np.random.default_rng(1).uniform(0, 255, 136)
    blind, unknown = face.copy(), face.copy()
    blind[90:92] = blind[72:74]
    unknown[5] = np.nan
    assert first_problems(points, [face, blind, unknown], 0) == [
        None,
        ("the two eye points coincide", ""),
        ("a point is not a finite number", ""),
    ]


def test_five_points_are_scaled_by_the_first_two():
    five = np.random.default_rng(1).uniform(0, 255, 10)
    blind = five.copy()
    blind[2:4] = blind[0:2]
    assert first_problems(points, [five, blind], 0) == [None, ("the two eye points coincide", "")]
    assert first_problems(points, [[1.0, 2.0] * 7], 0) == [("unknown number of points", "7")]
    assert first_problems(points, [[1.0] * 11], 0) == [("unknown number of points", "5")]
