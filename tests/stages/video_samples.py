"""Videos of faces on larger frames, and a folder of them as a release."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from media_samples import drawn_faces, noise
from own_samples import video

SIZE = (320, 240)
STEP = 5  # frames at 25 fps: the videos have 5 frames a second, which is how often faces are searched

Face = tuple[int, int, int]  # centre x, centre y, side


def shot(frames: int, *faces: Face, dx: int = 0, seed: int = 0) -> list[np.ndarray]:
    """Frames in which each face moves by `dx` px a frame; the background depends on `seed`."""
    back = noise(*SIZE, seed) // 2
    images: list[np.ndarray] = []
    for k in range(frames):
        drawn = drawn_faces(*SIZE, *((x + dx * k, y, side) for x, y, side in faces))
        inside = np.zeros(SIZE[::-1], bool)
        for x, y, side in faces:
            half, middle = 2 * side // 3, x + dx * k
            inside[max(0, y - half) : y + half, max(0, middle - half) : middle + half] = True
        images.append(np.where(inside[..., None], drawn, back))
    return images


def clip(path: Path, *shots: Sequence[np.ndarray]) -> Path:
    """The shots one after the other as a video with STEP frames between images."""
    images = [image for images in shots for image in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    return video(path, images, [k * STEP / 25 for k in range(len(images))])
