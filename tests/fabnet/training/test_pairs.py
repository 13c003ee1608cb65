import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from fabnet.modules.crops import crop_and_resize
from fabnet.modules.frame_choice import Choice
from fabnet.training import pairs

# track, its identity and video, its first row and its number of frames
ROWS_OF = {
    "t3": ("b", "v2", 6, 3),
    "t1": ("b", "v1", 0, 3),
    "t2": ("b", "v1", 3, 3),
    "t4": ("a", "v3", 9, 7),
    "t5": ("c", "v4", 16, 3),
}


def tracks(*names: str) -> pairs.Tracks:
    return pairs.Tracks.of(*map(np.array, zip(*[ROWS_OF[name] for name in names], strict=True)))


TRACKS = tracks(*ROWS_OF)
TRACK_OF = {row: track for track, (*_, first, length) in ROWS_OF.items() for row in range(first, first + length)}
IDENTITY_OF = {track: identity for track, (identity, *_) in ROWS_OF.items()}
ROWS = 19
SIZES = np.tile([40, 36], (ROWS, 1))
JITTER = np.tile([20, 30], (ROWS, 1))
CPU = torch.device("cpu")


def drawn(seed: int = 0, *, tracks: pairs.Tracks = TRACKS, frames: int = 2, draws: int = 20) -> pairs.Draw:
    rng = np.random.default_rng(seed)
    return pairs.draw(tracks, SIZES, JITTER, choice=Choice(frames), draws_per_identity=draws, rng=rng)


def image(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (36, 40, 3), np.uint8)


def loaded(
    draw: pairs.Draw, *, batch: int = 8, workers: int = 2, load=image, **share: tuple[int, int]
) -> list[torch.Tensor]:
    return list(pairs.batches(draw, load, batch=batch, size_px=32, device=CPU, workers=workers, **share))


def test_tracks_are_grouped_by_identity_and_video():
    assert len(TRACKS) == 3
    assert TRACKS.identities.tolist() == [0, 1, 3, 4]  # a: v3, b: v1 and v2, c: v4
    assert TRACKS.videos.tolist() == [0, 1, 3, 4, 5]
    assert [TRACK_OF[row] for row in TRACKS.first] == ["t4", "t1", "t2", "t3", "t5"]
    assert TRACKS.lengths.tolist() == [7, 3, 3, 3, 3]


def test_videos_of_two_identities_with_one_name_stay_apart():
    zero = np.zeros(2, np.int64)
    shared = pairs.Tracks.of(np.array([1, 2]), zero, np.array([0, 5]), np.array([5, 5]))
    assert shared.videos.tolist() == shared.identities.tolist() == [0, 1, 2]


def test_no_tracks_are_no_identities():
    empty = np.zeros(0, np.int64)
    assert len(pairs.Tracks.of(empty, empty, empty, empty)) == 0


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_sample_is_distinct_frames_of_one_track(frames: int):
    for sample in drawn(frames=frames).frames:
        assert len(set(sample)) == frames
        assert len({TRACK_OF[int(row)] for row in sample}) == 1


def test_every_identity_is_drawn_equally_often():
    seen = Counter(IDENTITY_OF[TRACK_OF[int(row)]] for row in drawn(draws=7).frames[:, 0])
    assert seen == {"a": 7, "b": 7, "c": 7}


def test_every_frame_can_be_the_target_and_the_source():
    rows = drawn(draws=400).frames
    assert set(rows[:, 0]) == set(rows[:, 1]) == set(range(ROWS))


def test_every_video_is_equally_likely_and_every_track_of_a_video():
    seen = Counter(TRACK_OF[int(row)] for row in drawn(draws=4000).frames[:, 0])
    assert [seen[track] / 4000 for track in ("t3", "t1", "t2")] == pytest.approx([0.5, 0.25, 0.25], abs=0.03)
    assert seen["t4"] == seen["t5"] == 4000


@pytest.mark.parametrize(("frames", "choices"), [(1, 7), (2, 42), (3, 210)])
def test_all_choices_of_frames_in_every_order_are_equally_likely(frames: int, choices: int):
    draws = 400 * choices
    seen = Counter(map(tuple, drawn(tracks=tracks("t4"), frames=frames, draws=draws).frames.tolist()))
    assert len(seen) == choices
    distance = sum((count - 400) ** 2 / 400 for count in seen.values())  # chi squared: mean and half its variance are
    assert distance < choices - 1 + 5 * np.sqrt(2 * (choices - 1))  # choices - 1


def test_a_sample_can_take_all_frames_of_a_track():
    assert all(sorted(sample) == [*range(9, 16)] for sample in drawn(tracks=tracks("t4"), frames=7).frames.tolist())


def test_a_track_with_fewer_frames_than_a_sample_is_refused():
    with pytest.raises(ValueError, match="high <= 0"):
        drawn(frames=4)


def test_identities_follow_in_random_order():
    order = [IDENTITY_OF[TRACK_OF[int(row)]] for row in drawn(draws=200).frames[:, 0]]
    pairs_of = Counter(pairwise(order))
    assert len(pairs_of) == 9
    assert min(pairs_of.values()) > 40  # of 599, 67 each in the mean


def test_equal_seeds_give_equal_draws_in_any_order_of_the_tracks():
    one, other = drawn(), drawn(tracks=tracks(*reversed(ROWS_OF)))
    assert np.array_equal(one.frames, other.frames)
    assert np.array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px)
    assert not np.array_equal(drawn(1).frames, one.frames)


def test_source_and_target_get_separate_crops():
    boxes = drawn().boxes_xyxy_px
    assert (boxes[:, 0] != boxes[:, 1]).any(axis=1).mean() > 0.9
    assert (boxes[..., 2] <= 40).all()
    assert (boxes[..., 3] <= 36).all()


def test_batches_are_the_crops_in_the_order_of_the_draw():
    draw = drawn()
    frames = torch.cat(loaded(draw))
    for sample in (0, 13, 55):
        for slot in (0, 1):
            pixels = torch.from_numpy(image(int(draw.frames[sample, slot])))[None]
            expected = crop_and_resize(pixels, torch.from_numpy(draw.boxes_xyxy_px[sample, slot][None]), 32)[0]
            assert torch.allclose(frames[sample, slot], expected, atol=1e-6)


@pytest.mark.parametrize("workers", [2, 5, 100])
def test_batches_do_not_depend_on_the_number_of_threads(workers: int):
    def late(row: int) -> np.ndarray:
        time.sleep(0.002 * (row % 3))  # later frames are ready first
        return image(row)

    one, many = loaded(drawn(), workers=1), loaded(drawn(), workers=workers, load=late)
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


@pytest.mark.parametrize(("batch", "full"), [(60, 1), (61, 0), (8, 7), (1, 60), (200, 0)])
def test_an_incomplete_last_batch_is_left_out(batch: int, full: int):
    shapes = [frames.shape for frames in loaded(drawn(), batch=batch)]
    assert shapes == [(batch, 2, 3, 32, 32)] * full


def test_the_rest_of_a_draw_gives_the_batches_that_are_left():
    whole, rest = loaded(drawn()), loaded(drawn()[3 * 8 :])
    assert len(rest) == 4
    assert all(torch.equal(a, b) for a, b in zip(whole[3:], rest, strict=True))


@pytest.mark.parametrize(("batch", "processes"), [(8, 2), (7, 7), (60, 3), (61, 1)])
def test_shares_put_together_are_the_whole_batches(batch: int, processes: int):
    shares = [loaded(drawn(), batch=batch, share=(number, processes)) for number in range(processes)]
    together = [torch.cat(parts) for parts in zip(*shares, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(together, loaded(drawn(), batch=batch), strict=True))


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    with pytest.raises(ValueError, match="a batch of 8 cannot be shared equally by 3 processes"):
        loaded(drawn(), share=(0, 3))


def test_identities_are_those_of_the_samples_of_each_batch():
    draw = drawn()
    expected = ["abc".index(IDENTITY_OF[TRACK_OF[int(row)]]) for row in draw.frames[:, 0]]
    batches = list(pairs.identities(draw, batch=8, device=CPU))
    assert torch.cat(batches).tolist() == expected[: 7 * 8]
    assert {(numbers.shape, numbers.dtype) for numbers in batches} == {((8,), torch.int64)}


def test_shares_of_the_identities_put_together_are_the_whole_batches():
    shares = [list(pairs.identities(drawn(), batch=8, device=CPU, share=(number, 2))) for number in range(2)]
    together = [torch.cat(parts).tolist() for parts in zip(*shares, strict=True)]
    assert together == [numbers.tolist() for numbers in pairs.identities(drawn(), batch=8, device=CPU)]


def test_frames_are_chosen_as_the_choice_says():
    rng = np.random.default_rng(0)
    ordered = pairs.draw(tracks("t4"), SIZES, JITTER, choice=Choice(3, "ordered", gap=3), draws_per_identity=4, rng=rng)
    assert ordered.frames.tolist() == [[9, 12, 15]] * 4


def test_at_most_two_batches_are_read_ahead():
    asked: list[int] = []
    stream = pairs.batches(
        drawn(), lambda row: asked.append(row) or image(row), batch=4, size_px=32, device=CPU, workers=2
    )
    next(stream)
    time.sleep(0.05)
    assert len(asked) <= 3 * 4 * 2
    stream.close()


def test_a_frame_that_cannot_be_loaded_stops_the_epoch():
    def broken(row: int) -> np.ndarray:
        raise OSError(f"no frame {row}")

    with pytest.raises(OSError, match="no frame"):
        loaded(drawn(), load=broken)


def test_squares_that_lie_low_in_tall_frames_are_whole():
    def tall(row: int) -> np.ndarray:
        return np.concatenate([np.zeros((30, 40, 3), np.uint8), image(row)])

    def drawn_at(top: int) -> pairs.Draw:
        boxes = np.array([[[0, top, 36, top + 36]] * 2], np.float32)
        return pairs.Draw(np.array([[0, 1]]), boxes, np.zeros(1, np.int64))

    (low,), (high,) = loaded(drawn_at(30), batch=1, load=tall), loaded(drawn_at(0), batch=1)
    assert torch.allclose(low, high, atol=1e-6)


def test_stacking_puts_every_image_at_the_top_left():
    small, large = np.full((2, 3, 3), 7, np.uint8), np.full((4, 3, 3), 9, np.uint8)
    stacked = pairs.stack([small, large]).numpy()
    assert stacked.shape == (2, 4, 3, 3)
    assert np.array_equal(stacked[0, :2], small)
    assert not stacked[0, 2:].any()
    assert np.array_equal(stacked[1], large)
