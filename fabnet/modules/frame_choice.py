"""Which frames of a face track make a sample: at random, in order with a gap, or one that is near and one that is far.

Gaps are counted in frames as they are stored, 1/`crop.fps` seconds each: 0.2 s with the profile `sample`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FramesBy = Literal["random", "ordered", "near_far"]
Ints = NDArray[np.integer[Any]]

NEAR_FAR = 3  # frames: the anchor, a near one, a far one


@dataclass(frozen=True)
class Choice:
    """How the frames of a sample are chosen from its track.

    - `random`: in any order, any two at least `gap` frames apart; every choice in every order is equally likely.
    - `ordered`: in the order of time and equally spaced. The spacing is at random between `gap` frames and what the
      track allows, and then the place of the first frame is.
    - `near_far`: an anchor, a near frame at most `gap` frames from it, a far one more than `gap` frames from it. Every
      pair of anchor and far frame is equally likely, then every near one.

    Raises:
        ValueError: one clause: a gap below 1, or `near_far` with another number of frames than three.
    """

    frames: int
    by: FramesBy = "random"
    gap: int = 1

    def __post_init__(self) -> None:
        if found := problem(self.gap):
            raise ValueError(found)
        if self.by == "near_far" and self.frames != NEAR_FAR:
            raise ValueError(f"near_far chooses three frames, found {self.frames}")

    @property
    def shortest(self) -> int:
        """Frames that a track needs at least."""
        return self.gap + 2 if self.by == "near_far" else (self.frames - 1) * self.gap + 1

    def places(self, lengths: Ints, rng: np.random.Generator) -> NDArray[np.int64]:
        """Numbers (N, frames), from 0, of the chosen frames in tracks of `lengths` (N,), each at least `shortest`."""
        if self.by == "ordered":
            return _ordered(lengths, self.frames, self.gap, rng)
        if self.by == "near_far":
            return _near_far(lengths, self.gap, rng)
        return _apart(lengths, self.frames, self.gap, rng)


def problem(gap: int) -> str | None:
    """What is wrong with the gap in a method's settings, in one clause."""
    return None if gap >= 1 else f"gap should be at least 1 frame, found {gap}"


def _apart(lengths: Ints, picks: int, gap: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N, picks) in any order, any two of a row at least `gap` apart."""
    room = gap - 1  # frames that each choice takes from those after it
    chosen = _distinct(lengths - (picks - 1) * room, picks, rng)
    return chosen + room * chosen.argsort(axis=1).argsort(axis=1)


def _distinct(counts: Ints, picks: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N, picks) numbers below each of `counts` (N,), distinct in a row; every choice in every order equally likely."""
    chosen = np.empty((len(counts), 0), np.int64)
    for taken in range(picks):
        number = rng.integers(0, counts - taken)  # the how manyth of those that are left
        for before in np.sort(chosen, axis=1).T:
            number += number >= before
        chosen = np.column_stack([chosen, number])
    return chosen


def _ordered(lengths: Ints, picks: int, gap: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N, picks) ascending and equally spaced."""
    steps = max(1, picks - 1)
    spacing = rng.integers(gap, np.maximum(gap, (lengths - 1) // steps), endpoint=True)
    first = rng.integers(0, lengths - (picks - 1) * spacing)
    return first[:, None] + spacing[:, None] * np.arange(picks)


def _near_far(lengths: Ints, gap: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N, 3) anchor, near frame, far frame."""
    anchor, far = _apart(lengths, 2, gap + 1, rng).T
    near = rng.integers(np.maximum(0, anchor - gap), np.minimum(lengths - 1, anchor + gap))
    near += near >= anchor
    return np.column_stack([anchor, near, far])
