"""Tracks of faces: boxes of single frames linked from frame to frame, each track one face in one shot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d

from fabnet.boxes import Box, PixelBox, overlap, whole

FaceTrack = dict[int, Box]  # frame number at 25 fps, ascending -> the face's box as it was detected
Square = tuple[float, float, float]  # around a face: centre x, centre y, side, px


@dataclass(frozen=True)
class Seen:
    """The faces of one frame."""

    number: int  # of the frame, at 25 fps
    boxes: Sequence[Box]
    is_cut: bool  # whether another shot begins with this frame


def follow(frames: Iterable[Seen], *, least_overlap: float, gap: int) -> list[FaceTrack]:
    """The tracks in the frames, sorted by their first frame, then from left to right.

    A box continues the track whose last box it overlaps most, if that is at least `least_overlap` (intersection over
    union). A track ends at a cut, or when its face is found again only after more than `gap` frames at 25 fps.
    """
    tracks: list[FaceTrack] = []
    alive: list[FaceTrack] = []
    for frame in frames:
        alive = [] if frame.is_cut else [track for track in alive if frame.number - _last(track) <= gap]
        started = _continue(alive, frame, least_overlap)
        alive += started
        tracks += started
    return sorted(tracks, key=lambda track: next(iter(track.items())))


def steady(track: FaceTrack, numbers: Sequence[int], window: int) -> dict[int, Square]:
    """Where the face is in those of the frames `numbers` that lie within the track, without the detector's jitter.

    Frames in which it was not found are filled on a straight line; a median and a mean over `window` frames follow.
    """
    within = [number for number in numbers if next(iter(track)) <= number <= _last(track)]
    seen = np.array([_square(box) for box in track.values()])
    filled = np.stack([np.interp(within, list(track), column) for column in seen.T])
    steps: NDArray[np.float64] = median_filter(filled, (1, window), mode="nearest")
    smooth: NDArray[np.float64] = uniform_filter1d(steps, window, axis=1, mode="nearest")
    return {number: (x, y, side) for number, (x, y, side) in zip(within, smooth.T.tolist(), strict=True)}


def frame_box(face: Square, face_frac: float, face_y_frac: float) -> PixelBox:
    """The square to cut out as the track's frame; it may leave the image.

    The face's box has `face_frac` of its side, and its centre is at half of its width and `face_y_frac` of its height.
    """
    x, y, face_side = face
    side = face_side / face_frac
    left, top = x - side / 2, y - face_y_frac * side
    return whole((left, top, left + side, top + side))


def _last(track: FaceTrack) -> int:
    return next(reversed(track))


def _continue(alive: Sequence[FaceTrack], frame: Seen, least_overlap: float) -> list[FaceTrack]:
    """Add each box of the frame to the track that it continues; a new track for each of the others."""
    pairs = sorted(
        (-overlap(track[_last(track)], box), of_track, of_box)
        for of_track, track in enumerate(alive)
        for of_box, box in enumerate(frame.boxes)
    )
    tracks, boxes = set(range(len(alive))), set(range(len(frame.boxes)))
    for negative, of_track, of_box in pairs:
        if -negative >= least_overlap and of_track in tracks and of_box in boxes:
            alive[of_track][frame.number] = frame.boxes[of_box]
            tracks.remove(of_track)
            boxes.remove(of_box)
    return [{frame.number: frame.boxes[of_box]} for of_box in sorted(boxes)]


def _square(box: Box) -> Square:
    x0, y0, x1, y1 = box
    return (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0)
