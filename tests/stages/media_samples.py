"""Pictures and clips made on the spot, for tests of everything that reads media."""

from pathlib import Path

import av
import cv2
import numpy as np


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise that survives compression, (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(
        0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8
    )
    return cv2.resize(coarse, (width, height))


def encoded(image: np.ndarray, extension: str = ".jpg") -> bytes:
    ok, data = cv2.imencode(extension, image)
    assert ok
    return data.tobytes()


def mp4(folder: Path, frames: int, *, fps: int = 25, side: int = 224, seed: int = 0, faststart: bool = False) -> bytes:
    """An H.264 clip whose frame k is a grey level of 8 k (mod 256) over noise in the left half."""
    path = folder / f"made-{frames}-{fps}-{side}-{seed}-{faststart}.mp4"
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for k in range(frames):
            image = noise(side, side, seed)
            image[:, side // 2 :] = 8 * k % 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.unlink()
    return data


def level(image: np.ndarray) -> float:
    """Grey level of the right half, by which a frame of `mp4` is told from the others."""
    return float(image[:, -image.shape[1] // 4 :].mean())
