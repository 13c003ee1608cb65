from dataclasses import replace

import cv2
import numpy as np
import pytest

from fabnet.pose import Pose
from stages.synthetic.renderer import curves, expression, head, identity, photo, render
from stages.synthetic.renderer.background import draw_background
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.canvas import ONE_PX, Canvas, Image, point
from stages.synthetic.renderer.expression import EMOTIONS
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import INNER_FROM, Array
from stages.synthetic.renderer.seeds import generator

CAMERA = Camera.square(256)
NEUTRAL = expression.action_units({})


def draw_person(seed: int) -> Identity:
    return identity.draw(generator("test", seed))


def rendered(
    person: Identity, emotion: str = "neutral", pose: Pose | None = None, camera: Camera = CAMERA
) -> render.Frame:
    rng = np.random.default_rng(0)
    background = draw_background(rng, camera.height_px, camera.width_px)
    return render.frame(person, background, expression.action_units(EMOTIONS[emotion]), pose or Pose(), camera, rng=rng)


def dot_at(points: Array, index: int | None) -> Image:
    """A white face texture, with a black dot of 3 pixels at one point."""
    texture = np.full((540, 400, 3), 255, np.uint8)
    if index is not None:
        cv2.circle(texture, point(Canvas(texture).px(points[index])), 3 * ONE_PX, (0, 0, 0), -1, cv2.LINE_AA, 4)
    return texture


def dot_errors(person: Identity, emotion: str, pose: Pose) -> Array:
    """Offsets (n, 2) in pixels between the rendered dot and the landmark, for the visible inner points."""
    au = expression.action_units(EMOTIONS[emotion])
    points = expression.deform(person.shape.points, au)
    landmarks = CAMERA.project(head.landmarks(person.shape, points, au), pose)[INNER_FROM:]
    black = np.zeros((256, 256, 3), np.uint8)

    def rendered_dot(index: int | None) -> Array:
        texture = dot_at(points, index)
        return render.overlay_head(black, person, texture, points, au, pose=pose, camera=CAMERA).sum(axis=2)

    blank, errors = rendered_dot(None), []
    for index, (x, y) in enumerate(landmarks):
        x0, y0 = round(x) - 5, round(y) - 5
        weight = np.clip(blank - rendered_dot(index), 0, None)[y0 : y0 + 11, x0 : x0 + 11]
        if weight.sum() > 60:
            rows, columns = np.mgrid[0:11, 0:11]
            errors.append(
                ((weight * columns).sum() / weight.sum() + x0 - x, (weight * rows).sum() / weight.sum() + y0 - y)
            )
    return np.array(errors)


def test_landmarks_lie_on_the_rendered_points():
    poses = [Pose.degrees(20, 8, -8), Pose.degrees(-25, -10, 5), Pose.degrees(0, 0, 0)]
    cases = zip(range(3), ("fear", "happy", "surprise"), poses, strict=True)
    errors = np.concatenate([dot_errors(draw_person(seed), emotion, pose) for seed, emotion, pose in cases])
    distance = np.linalg.norm(errors, axis=1)
    assert len(errors) > 120
    assert np.abs(errors.mean(axis=0)).max() < 0.05
    assert np.median(distance) < 0.15
    assert np.percentile(distance, 95) < 0.4


def test_jaw_landmarks_lie_on_the_edge_of_a_frontal_face():
    person = draw_person(1)
    frame = rendered(person)
    shape = person.shape
    expected = [CAMERA.project(np.array([0, shape.chin_y - 0.012, 0]), Pose())[0], frame.landmarks[8, 0]]
    assert expected[0] == pytest.approx(expected[1], abs=1e-6)
    assert (np.diff(frame.landmarks[:17, 0]) > 0).all()
    assert frame.landmarks[8, 1] == frame.landmarks[:17, 1].max()


def test_equal_seeds_give_equal_images_and_different_seeds_different_ones():
    one, again, other = (
        rendered(draw_person(3), "happy"),
        rendered(draw_person(3), "happy"),
        rendered(draw_person(4), "happy"),
    )
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.landmarks, again.landmarks)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("emotion", list(EMOTIONS))
def test_every_emotion_but_neutral_changes_the_face(emotion: str):
    person = draw_person(5)
    shown, neutral = rendered(person, emotion), rendered(person)
    assert shown.image.shape == (256, 256, 3)
    changed = np.abs(shown.image.astype(int) - neutral.image).max(axis=2) > 25
    assert changed.sum() == 0 if emotion == "neutral" else changed.sum() > 150
    assert (np.abs(shown.landmarks - neutral.landmarks).max() > 2) == (emotion != "neutral")


@pytest.mark.parametrize("axis", ["yaw", "pitch", "roll"])
def test_positive_angles_turn_right_lift_the_nose_and_turn_clockwise(axis: str):
    person, tip, brow, chin = draw_person(6), 30, 27, 8
    before, after = (rendered(person, pose=Pose.degrees(**{axis: angle})).landmarks for angle in (0, 15))
    if axis == "yaw":
        assert after[tip, 0] > before[tip, 0] + 5
    elif axis == "pitch":
        assert after[tip, 1] < before[tip, 1] - 5
    else:
        assert (after[brow] - after[chin])[0] > 10


def test_a_head_that_is_partly_outside_the_image_is_rendered_as_inside_it():
    person = draw_person(7)
    whole = rendered(person, camera=CAMERA)
    cut_camera = replace(CAMERA, width_px=140)
    rng = np.random.default_rng(0)
    background = draw_background(rng, 256, 256)
    cut = render.frame(person, background[:, :140], NEUTRAL, Pose(), cut_camera, rng=rng, sensor=render.Sensor(noise=0))
    full = render.frame(person, background, NEUTRAL, Pose(), CAMERA, rng=rng, sensor=render.Sensor(noise=0))
    assert np.array_equal(cut.landmarks, whole.landmarks)
    difference = np.abs(cut.image[:, :137].astype(int) - full.image[:, :137])
    assert difference.max() <= 3  # the blur of the chin's shadow ends at the edge
    assert (difference == 0).mean() > 0.99


def test_a_head_outside_the_image_leaves_the_background_unchanged():
    away = replace(CAMERA, centre_xy_px=(-900.0, -900.0))
    background = np.full((256, 256, 3), 90, np.uint8)
    frame = render.frame(
        draw_person(8), background, NEUTRAL, Pose(), away, rng=np.random.default_rng(0), sensor=render.Sensor(noise=0)
    )
    assert (frame.image[:200] == 90).all()


def test_a_photo_contains_all_landmarks():
    for seed in range(12):
        rng = generator("portrait", seed)
        frame = photo.of_emotion(draw_person(seed), rng, emotion="surprise", poses=photo.PoseRange())
        height, width = frame.image.shape[:2]
        assert frame.landmarks.min() > 0
        assert (frame.landmarks < (width - 1, height - 1)).all()


def test_splines_pass_through_their_points():
    points = np.random.default_rng(0).normal(size=(5, 2))
    curve = curves.spline_matrix(5, 4) @ points
    assert curve[::4] == pytest.approx(points)
