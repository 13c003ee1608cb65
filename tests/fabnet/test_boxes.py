import numpy as np
import pytest

from fabnet import boxes


def test_expand_grows_each_side_by_the_rounded_share():
    assert boxes.expand((10, 20, 110, 70), 0.1) == (0, 15, 120, 75)
    assert boxes.expand((0, 0, 104, 115), 0.1) == (-10, -12, 114, 127)  # 10.4 -> 10, 11.5 -> 12
    assert boxes.expand((1, 2, 3, 4), 0.0) == (1, 2, 3, 4)


def test_the_demo_face_of_300w_gives_the_crop_computed_by_hand():
    # sides 104.1573 and 109.5849, so 10 and 11 px on each side
    grown = boxes.expand((312.4117, 57.3576, 416.5690, 166.9425), 0.1)
    assert grown == pytest.approx((302.4117, 46.3576, 426.5690, 177.9425))
    assert boxes.whole(grown) == (302, 46, 427, 178)


def test_square_keeps_the_centre_and_the_longer_side():
    assert boxes.square((0, 0, 10, 4)) == (0, -3, 10, 7)
    assert boxes.square((2, 1, 5, 6)) == (1, 1, 6, 6)


def test_the_crop_of_a_face_is_the_square_of_its_grown_box_at_whole_pixels():
    assert boxes.crop_box((10.0, 20.0, 110.0, 100.0)) == (10, 10, 110, 110)
    assert boxes.crop_box((10.0, 20.0, 110.0, 100.0), 0.1) == (0, 0, 120, 120)
    assert boxes.crop_box((-3.2, 4.4, 6.9, 8.8)) == (-3, 2, 7, 12)  # edges -3.2, 1.55, 6.9, 11.65


def test_clamp_keeps_what_lies_inside():
    assert boxes.clamp((-5, 2, 50, 90), 40, 30) == (0, 2, 40, 30)
    assert boxes.area(boxes.clamp((50, 2, 60, 9), 40, 30)) == 0


def test_whole_rounds_halves_upward():
    assert boxes.whole((0.5, -0.5, 2.49, 2.5)) == (1, 0, 2, 3)


def test_overlap_of_known_boxes():
    assert boxes.overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert boxes.overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert boxes.overlap((0, 0, 1, 1), (5, 5, 6, 6)) == 0
    assert boxes.overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_the_face_nearest_to_the_annotated_box_wins_over_a_better_score():
    faces = [(0, 0, 10, 10), (20, 0, 30, 10)]
    assert boxes.choose_face(faces, [5.0, 0.1], (19, 0, 31, 12)) == 1
    assert boxes.choose_face(faces, [5.0, 0.1], (50, 50, 60, 60)) is None


def test_without_an_annotated_box_score_then_size_then_left_then_top_decide():
    assert boxes.choose_face([(0, 0, 9, 9), (5, 5, 6, 6)], [1.0, 2.0], None) == 1
    assert boxes.choose_face([(0, 0, 5, 5), (9, 9, 19, 19)], [1.0, 1.0], None) == 1
    assert boxes.choose_face([(9, 0, 14, 5), (0, 9, 5, 14)], [1.0, 1.0], None) == 1
    assert boxes.choose_face([(0, 9, 5, 14), (0, 3, 5, 8)], [1.0, 1.0], None) == 1
    assert boxes.choose_face([], [], None) is None


def test_the_choice_does_not_depend_on_the_order_of_the_faces():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 5, (12, 2))
    faces = [(float(x), float(y), float(x + 4), float(y + 4)) for x, y in {tuple(c) for c in corners.tolist()}]
    scores = [1.0] * len(faces)
    chosen = faces[boxes.choose_face(faces, scores, (1, 1, 6, 6)) or 0]
    for _ in range(10):
        order = rng.permutation(len(faces))
        shuffled = [faces[i] for i in order]
        assert shuffled[boxes.choose_face(shuffled, scores, (1, 1, 6, 6)) or 0] == chosen


def test_points_follow_a_crop_by_algebra():
    points = np.array([[10.0, 20.0], [59.5, 69.5]])
    # one source pixel becomes 256 / 50 = 5.12; the centre of pixel 10 is 0.5 px inside the box
    moved = boxes.follow(points, (10, 20, 60, 70), 256)
    assert moved == pytest.approx(np.array([[0.5 * 5.12 - 0.5] * 2, [255.5] * 2]))


def test_a_crop_of_the_whole_image_moves_nothing():
    points = np.random.default_rng(0).uniform(0, 64, (68, 2))
    assert boxes.follow(points, (0, 0, 64, 64), 64) == pytest.approx(points)


def test_the_box_of_points_spans_their_centres():
    assert boxes.around(np.array([[1.0, 5.0], [3.0, 2.0]])) == (1.5, 2.5, 3.5, 5.5)


def test_both_voxcelebs_keep_the_square_computed_by_hand():
    # 256 + 20 + 20 = 296 wide, 256 + 80 + 30 = 366 high; margins (296 - 190) / 2 = 53 and (366 - 190) / 2 = 88;
    # before padding that is 53 - 20 = 33 from the left and 88 - 80 = 8 from the top
    assert boxes.centre_box(256, (20, 80, 20, 30), 190) == (33, 8, 223, 198)
    assert boxes.centre_box(256, (0, 0, 0, 0), 256) == (0, 0, 256, 256)


def test_an_odd_remainder_lies_at_the_right_and_bottom():
    assert boxes.centre_box(5, (0, 0, 0, 0), 2) == (1, 1, 3, 3)


def test_a_box_is_scaled_around_its_centre_and_moved_by_shares_of_its_sides():
    assert boxes.moved((10, 20, 50, 40), 1.0, (0.0, 0.0)) == (10, 20, 50, 40)
    assert boxes.moved((10, 20, 50, 40), 0.5, (0.0, 0.0)) == (20, 25, 40, 35)
    assert boxes.moved((10, 20, 50, 40), 2.0, (0.25, -0.5)) == (0, 0, 80, 40)
