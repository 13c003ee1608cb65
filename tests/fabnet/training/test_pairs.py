import time
from collections import Counter

import numpy as np
import pytest
import torch

from fabnet.modules.crops import crop_and_resize
from fabnet.training import pairs

TRACKS = {
    "b": {"v2": {"t3": np.arange(6, 9)}, "v1": {"t1": np.arange(3), "t2": np.arange(3, 6)}},
    "a": {"v3": {"t4": np.arange(9, 16)}},
    "c": {"v4": {"t5": np.arange(16, 19)}},
}
TRACK_OF = {
    int(row): track for videos in TRACKS.values() for v in videos.values() for track, r in v.items() for row in r
}
IDENTITY_OF = {track: identity for identity, videos in TRACKS.items() for video in videos.values() for track in video}
ROWS = 19
SIZES = np.tile([40, 36], (ROWS, 1))
JITTER = np.tile([20, 30], (ROWS, 1))
CPU = torch.device("cpu")


def drawn(seed: int = 0, *, tracks: pairs.Tracks = TRACKS, frames: int = 2, draws: int = 20) -> pairs.Draw:
    rng = np.random.default_rng(seed)
    return pairs.draw(tracks, SIZES, JITTER, frames=frames, draws_per_identity=draws, rng=rng)


def image(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (36, 40, 3), np.uint8)


def loaded(draw: pairs.Draw, *, batch: int = 8, workers: int = 2, load=image) -> list[torch.Tensor]:
    return list(pairs.batches(draw, load, batch=batch, size_px=32, device=CPU, workers=workers))


@pytest.mark.parametrize("frames", [2, 3])
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


def test_every_video_is_equally_likely_whatever_its_number_of_tracks():
    seen = Counter(TRACK_OF[int(row)] for row in drawn(draws=2000).frames[:, 0])
    assert seen["t3"] / 2000 == pytest.approx(0.5, abs=0.05)


def test_equal_seeds_give_equal_draws_in_any_order_of_the_tracks():
    backwards = {
        name: {video: dict(reversed(tracks.items())) for video, tracks in reversed(videos.items())}
        for name, videos in reversed(TRACKS.items())
    }
    one, other = drawn(), drawn(tracks=backwards)
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


def test_batches_do_not_depend_on_the_number_of_threads():
    def late(row: int) -> np.ndarray:
        time.sleep(0.002 * (row % 3))  # later frames are ready first
        return image(row)

    one, many = loaded(drawn(), workers=1), loaded(drawn(), workers=7, load=late)
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


@pytest.mark.parametrize(("batch", "full"), [(60, 1), (61, 0), (8, 7), (1, 60), (200, 0)])
def test_an_incomplete_last_batch_is_left_out(batch: int, full: int):
    shapes = [frames.shape for frames in loaded(drawn(), batch=batch)]
    assert shapes == [(batch, 2, 3, 32, 32)] * full


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


def test_stacking_puts_every_image_at_the_top_left():
    small, large = np.full((2, 3, 3), 7, np.uint8), np.full((4, 3, 3), 9, np.uint8)
    stacked = pairs.stack([small, large]).numpy()
    assert stacked.shape == (2, 4, 3, 3)
    assert np.array_equal(stacked[0, :2], small)
    assert not stacked[0, 2:].any()
    assert np.array_equal(stacked[1], large)
