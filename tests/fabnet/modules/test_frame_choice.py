from collections import Counter

import numpy as np
import pytest

from fabnet.modules.frame_choice import Choice


def places(choice: Choice, length: int, count: int = 2000) -> np.ndarray:
    found = choice.places(np.full(count, length), np.random.default_rng(0))
    assert found.shape == (count, choice.frames)
    assert found.min() >= 0
    assert found.max() < length
    return found


def assert_equally_likely(seen: Counter, choices: int) -> None:
    expected = sum(seen.values()) / choices
    distance = sum((count - expected) ** 2 / expected for count in seen.values())
    assert len(seen) == choices
    assert distance < choices - 1 + 5 * np.sqrt(2 * (choices - 1))  # chi squared: its mean and half its variance


def test_random_choices_without_a_gap_are_those_of_earlier_versions():
    found = Choice(3).places(np.array([3, 7, 30, 5]), np.random.default_rng(2018))
    assert found.tolist() == [[0, 1, 2], [3, 6, 0], [4, 7, 3], [0, 4, 2]]


def test_random_frames_are_a_gap_apart_and_every_choice_is_equally_likely():
    found = places(Choice(2, gap=3), length=7, count=8000)
    assert np.abs(np.diff(found)).min() == 3
    assert_equally_likely(Counter(map(tuple, found.tolist())), 2 * (4 + 3 + 2 + 1))


def test_ordered_frames_ascend_and_are_equally_spaced_by_the_gap_or_more():
    spacing = np.diff(places(Choice(4, "ordered", gap=2), length=14))
    assert (spacing == spacing[:, :1]).all()
    assert set(spacing[:, 0].tolist()) == {2, 3, 4}
    pairs = np.diff(places(Choice(2, "ordered"), length=5))
    assert set(pairs[:, 0].tolist()) == {1, 2, 3, 4}


def test_ordered_frames_start_anywhere_that_the_track_allows():
    found = places(Choice(3, "ordered", gap=2), length=9)
    assert {tuple(row) for row in found.tolist()} == {
        (start, start + spacing, start + 2 * spacing) for spacing in (2, 3, 4) for start in range(9 - 2 * spacing)
    }


def test_the_near_frame_is_within_the_gap_and_the_far_one_is_not():
    anchor, near, far = places(Choice(3, "near_far", gap=2), length=8).T
    assert set(np.abs(near - anchor).tolist()) == {1, 2}
    assert set(np.abs(far - anchor).tolist()) == {3, 4, 5, 6, 7}


def test_every_pair_of_anchor_and_far_frame_is_equally_likely():
    found = places(Choice(3, "near_far", gap=2), length=6, count=6000)
    assert_equally_likely(Counter(map(tuple, found[:, ::2].tolist())), 12)


@pytest.mark.parametrize(
    "choice",
    [Choice(1), Choice(3), Choice(3, gap=4), Choice(1, "ordered", gap=9), Choice(4, "ordered", gap=3),
     Choice(3, "near_far"), Choice(3, "near_far", gap=5)],
)  # fmt: skip
def test_the_shortest_track_is_long_enough_and_a_shorter_one_is_not(choice: Choice):
    places(choice, choice.shortest)
    with pytest.raises(ValueError, match=r"low >= high|high <= 0"):
        places(choice, choice.shortest - 1)


def test_tracks_of_different_lengths_each_have_their_own_choices():
    lengths = np.array([5, 50] * 500)
    found = Choice(3, "near_far", gap=3).places(lengths, np.random.default_rng(1))
    assert (found < lengths[:, None]).all()
    assert found[1::2].max() > 40


def test_equal_seeds_give_equal_choices():
    for choice in (Choice(3, gap=2), Choice(3, "ordered"), Choice(3, "near_far")):
        assert np.array_equal(places(choice, 9), places(choice, 9))


def test_a_choice_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="gap should be at least 1 frame, found 0"):
        Choice(2, gap=0)
    with pytest.raises(ValueError, match="near_far chooses three frames, found 2"):
        Choice(2, "near_far")
