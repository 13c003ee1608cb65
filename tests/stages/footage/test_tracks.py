import numpy as np

from stages.footage import tracks
from stages.footage.tracks import Seen


def box(x: float, y: float = 50.0, side: float = 40.0) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


def followed(*frames: list[tuple[float, float, float, float]], cuts: tuple[int, ...] = (), gap: int = 5):
    """Tracks as lists of (frame number, left edge); a frame every 5 at 25 fps."""
    seen = [Seen(5 * k, boxes, k in cuts) for k, boxes in enumerate(frames)]
    found = tracks.follow(seen, least_overlap=0.4, gap=gap)
    return [[(number, edges[0]) for number, edges in track.items()] for track in found]


def test_a_moving_face_is_one_track():
    assert followed([box(0)], [box(8)], [box(16)]) == [[(0, 0), (5, 8), (10, 16)]]


def test_a_jump_of_the_box_begins_another_track():
    assert followed([box(0)], [box(3)], [box(60)]) == [[(0, 0), (5, 3)], [(10, 60)]]


def test_a_cut_ends_a_track_although_the_next_face_is_at_the_same_place():
    assert followed([box(0)], [box(0)], [box(0)], cuts=(1,)) == [[(0, 0)], [(5, 0), (10, 0)]]


def test_a_short_gap_is_bridged_and_a_long_one_is_not():
    frames = [box(0)], [], [box(4)]
    assert followed(*frames, gap=10) == [[(0, 0), (10, 4)]]
    assert followed(*frames, gap=9) == [[(0, 0)], [(10, 4)]]


def test_two_faces_that_come_close_keep_their_tracks():
    one, other = [0, 8, 14, 8, 0], [60, 46, 34, 46, 60]
    frames = [[box(x), box(y)] if k % 2 else [box(y), box(x)] for k, (x, y) in enumerate(zip(one, other, strict=True))]
    assert [[x for _, x in track] for track in followed(*frames)] == [one, other]


def test_a_box_continues_the_track_that_it_overlaps_most():
    assert followed([box(0), box(14)], [box(12)]) == [[(0, 0)], [(0, 14), (5, 12)]]


def test_gaps_are_filled_on_a_straight_line():
    steady = tracks.steady({0: box(0), 10: box(20)}, [0, 5, 10, 15], window=1)
    assert steady == {0: (20, 70, 40), 5: (30, 70, 40), 10: (40, 70, 40)}


def test_the_jitter_of_a_still_face_and_a_single_wrong_box_are_smoothed_away():
    rng = np.random.default_rng(0)
    track = {number: box(100 + rng.normal(0, 2)) for number in range(40)}
    track[20] = box(150, side=90)
    places = np.array(list(tracks.steady(track, range(40), window=5).values()))
    assert np.abs(places - (120, 70, 40)).max() < 4
    assert np.std(places[:, 0]) < 1


def test_the_face_is_in_the_cut_frame_where_it_should_be():
    x0, y0, x1, y1 = tracks.frame_box((300, 200, 49), face_frac=0.49, face_y_frac=0.44)
    assert (x0, y0, x1, y1) == (250, 156, 350, 256)
