"""Frames on which a training is watched: the same ones at every checkpoint, for every method and seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabnet.modules.crops import central_squares
from fabnet.training.pairs import Draw, Ints, Tracks

LEAST_PER_TRACK = 2  # so that a frame can have a neighbour of its own track
VIDEOS = 2  # of an identity, so that its nearest frame of another video can be its own


@dataclass(frozen=True)
class Watched:
    """N frames, and where they are from; codes are equal for the same track and the same video."""

    drawn: Draw  # one frame in each sample
    track: Ints  # (N,)
    video: Ints  # (N,)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.track)


def choose(
    tracks: Tracks, sizes: NDArray[np.integer[Any]], jitter_px: NDArray[np.integer[Any]], *, most: int
) -> Watched:
    """Frames evenly spread over identities and over their tracks; nothing is drawn at random.

    Args:
        tracks: of one split.
        sizes: (rows, 2) width and height of every frame, px.
        jitter_px: (rows, 2) range of the crop side of every frame in training, px; here it is their mean.
        most: about how many frames; at least two of a track are taken, at most all.

    The crop is the square at the centre. Of each identity the first and the last video are used, with the first track.
    """
    identities = _spread(len(tracks), max(1, most // (VIDEOS * LEAST_PER_TRACK)))
    first, last = tracks.identities[identities], tracks.identities[identities + 1] - 1
    videos = np.unique(np.concatenate([first, last]))
    track = tracks.videos[videos]
    counts = np.minimum(tracks.lengths[track], max(LEAST_PER_TRACK, most // len(track)))
    of = np.repeat(np.arange(len(track)), counts)
    rows = tracks.first[track][of] + np.concatenate(
        [_spread(length, count) for length, count in zip(tracks.lengths[track].tolist(), counts.tolist(), strict=True)]
    )
    boxes = central_squares(sizes[rows], jitter_px[rows])
    identity = np.searchsorted(tracks.identities, videos, side="right") - 1
    return Watched(Draw(rows[:, None], boxes[:, None], identity[of]), track[of], videos[of])


def _spread(length: int, count: int) -> Ints:
    """Up to `count` numbers below `length`, rising, in the middle of equal parts."""
    count = min(length, count)
    return (2 * np.arange(count) + 1) * length // (2 * count)
