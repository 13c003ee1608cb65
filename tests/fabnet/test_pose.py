import numpy as np
import pytest

from fabnet.pose import Pose

NOSE, CROWN = np.array([0.0, 0.0, 1.0]), np.array([0.0, -1.0, 0.0])  # y points down


def test_each_positive_angle_moves_the_nose_or_the_crown_as_documented():
    assert (Pose.degrees(yaw=90).rotation @ NOSE).tolist() == pytest.approx([1, 0, 0])  # to the image's right
    assert (Pose.degrees(pitch=90).rotation @ NOSE).tolist() == pytest.approx([0, -1, 0])  # up
    assert (Pose.degrees(roll=90).rotation @ CROWN).tolist() == pytest.approx([1, 0, 0])  # clockwise


def test_the_rotation_keeps_lengths_and_angles():
    rotation = Pose(0.4, -0.7, 1.1).rotation
    assert rotation @ rotation.T == pytest.approx(np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_the_rotation_is_that_of_pitch_then_yaw_then_roll():
    by_one = Pose(roll=1.1).rotation @ Pose(yaw=0.4).rotation @ Pose(pitch=-0.7).rotation
    assert Pose(0.4, -0.7, 1.1).rotation == pytest.approx(by_one)
