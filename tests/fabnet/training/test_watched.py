import numpy as np
import pytest

from fabnet.training import watched
from fabnet.training.pairs import Tracks

# identities with 1, 2 and 3 videos; the last video has two tracks; frames are rows 100, 101, ...
IDENTITY = np.array([0, 1, 1, 2, 2, 2, 2])
VIDEO = np.array([0, 1, 2, 3, 4, 5, 5])
LENGTHS = np.array([2, 9, 4, 9, 9, 6, 9])
FIRST = 100 + np.concatenate([[0], np.cumsum(LENGTHS)[:-1]])
ROWS = int(FIRST[-1] + LENGTHS[-1])


def choose(most: int, side_px: int = 60) -> watched.Watched:
    tracks = Tracks.of(IDENTITY, VIDEO, FIRST, LENGTHS)
    sizes = np.tile([side_px, 50], (ROWS, 1))
    return watched.choose(tracks, sizes, np.tile([40, 44], (ROWS, 1)), most=most)


def test_frames_are_spread_over_the_first_and_last_video_of_every_identity():
    found = choose(15)
    assert found.drawn.frames[:, 0].tolist() == [100, 101, 103, 106, 109, 111, 113, 114, 116, 119, 122, 134, 136, 138]
    assert found.drawn.identities.tolist() == [0] * 2 + [1] * 6 + [2] * 6
    assert found.video.tolist() == [0] * 2 + [1] * 3 + [2] * 3 + [3] * 3 + [5] * 3


@pytest.mark.parametrize(("most", "frames", "identities"), [(1, 4, 1), (8, 6, 2), (1000, 30, 3)])
def test_a_track_gives_two_frames_at_least_and_all_at_most(most: int, frames: int, identities: int):
    found = choose(most)
    assert (len(found), len(set(found.drawn.identities))) == (frames, identities)
    assert len(set(found.drawn.frames.ravel())) == frames


def test_the_crop_is_the_square_at_the_centre():
    assert choose(15).drawn.boxes_xyxy_px[0].tolist() == [[9, 4, 51, 46]]
