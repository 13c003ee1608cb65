import numpy as np
import pytest
from media_samples import drawn_faces, noise

from fabnet.images import cut
from pipelines.own import tracks
from pipelines.own.tracks import Look, Seen, Tracks

ANN, BOB = np.eye(2, tracks.LOOK_SIZE, dtype=np.float32)
STEP_S = 0.04


def seen(x: float, look: Look = ANN, side: float = 40.0) -> Seen:
    return Seen((x, 50.0, x + side, 50.0 + side), look)


def followed(*frames: list[Seen], step_s: float = STEP_S, cuts: tuple[int, ...] = ()) -> list[list[int]]:
    """The tracks of each frame's faces."""
    known, found = Tracks(), []
    for number, faces in enumerate(frames):
        if number in cuts:
            known.cut()
        found.append(known.follow(number * step_s, faces, (number - 1) * step_s if number else None))
    return found


def test_a_moving_face_is_one_track_and_another_face_another():
    assert followed([seen(0), seen(200)], [seen(190), seen(8)], [seen(16), seen(180)]) == [[0, 1], [1, 0], [0, 1]]


def test_a_face_that_moves_on_while_it_is_hidden_keeps_its_track():
    frames = [[seen(20.0 * k)] for k in range(5)] + [[]] * 10 + [[seen(300)]]
    assert followed(*frames)[-1] == [0]


def test_a_face_that_looks_different_at_the_same_place_is_another_person():
    assert followed([seen(0, ANN)], [seen(0, BOB)], [seen(0, ANN)]) == [[0], [1], [0]]


def test_a_face_far_away_or_of_another_size_is_another_person_until_time_has_passed():
    assert followed([seen(0)], [seen(200)]) == [[0], [1]]
    assert followed([seen(0)], [seen(200)], step_s=2.0) == [[0], [0]]
    assert followed([seen(0)], [], [seen(30, side=100)]) == [[0], [], [1]]


def test_a_face_that_was_gone_too_long_begins_a_track():
    assert followed([seen(0)], [], [seen(0)], step_s=2.4) == [[0], [], [0]]
    assert followed([seen(0)], [], [seen(0)], step_s=2.6) == [[0], [], [1]]


def test_frames_far_apart_are_linked_all_the_same():
    assert followed([seen(0)], [seen(4)], [seen(8)], step_s=60.0) == [[0], [0], [0]]


def test_after_a_cut_only_who_looks_the_same_keeps_a_track():
    frames = [[seen(0, ANN), seen(100, BOB)], [seen(300, BOB), seen(0, np.eye(3, tracks.LOOK_SIZE)[2])]]
    assert followed(*frames, cuts=(1,)) == [[0, 1], [1, 2]]


def test_two_people_who_change_places_between_two_frames_are_told_apart_by_their_looks():
    assert followed([seen(0, ANN), seen(25, BOB)], [seen(0, BOB), seen(25, ANN)]) == [[0, 1], [1, 0]]


def test_tracks_do_not_depend_on_the_order_of_the_faces():
    frames = [[seen(5.0 * k), seen(90 - 5.0 * k, BOB)] for k in range(20)]
    turned = [faces[::-1] if k else faces for k, faces in enumerate(frames)]
    assert [sorted(numbers) for numbers in followed(*turned)] == [[0, 1]] * 20
    assert followed(*turned)[-1] == followed(*frames)[-1][::-1]


def test_a_look_survives_scaling_and_noise_and_tells_another_picture():
    face = cut(drawn_faces(320, 240, (160, 120, 130)), (100, 60, 220, 180))
    small = face[::2, ::2]
    grain = np.random.default_rng(0).normal(0, 2, face.shape)
    noisy = np.clip(face + grain, 0, 255).astype(np.uint8)
    for alike in (small, noisy):
        assert tracks.unlike(tracks.look(face), tracks.look(alike)) < tracks.MOST_UNLIKE_LOST
    assert tracks.unlike(tracks.look(face), tracks.look(noise(120, 120))) > tracks.MOST_UNLIKE
    assert np.linalg.norm(tracks.look(face)) == pytest.approx(1)
