"""RGB images and clips made on the spot, for tests of everything that reads media."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
import pillow_heif

pillow_heif.register_heif_opener()


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise that survives compression, (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(
        0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8
    )
    return cv2.resize(coarse, (width, height))


def encoded(image: np.ndarray, extension: str = ".jpg") -> bytes:
    """A file of a grey, an RGB or an RGBA image."""
    ok, data = cv2.imencode(extension, image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]])
    assert ok
    return data.tobytes()


def grainy(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth scene under grain, so that a JPEG of it takes many bytes."""
    grain = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    return np.clip(noise(width, height, seed) + grain, 0, 255).astype(np.uint8)


def written(
    image: np.ndarray, form: str, *, mode: str = "RGB", exif: Mapping[int, int] | None = None, **settings
) -> bytes:
    """A file of an RGB image as Pillow writes it in a format, with EXIF tags."""
    picture, file = PIL.Image.fromarray(image).convert(mode), io.BytesIO()
    if exif:
        tags = picture.getexif()
        tags.update(exif)
        settings["exif"] = tags
    picture.save(file, form, **settings)
    return file.getvalue()


def damaged(jpeg: bytes, kind: str, random: np.random.Generator, other: bytes = b"") -> bytes:
    """The JPEG damaged inside its first scan: a hole of zeros or noise, missing bytes, another end, or none."""
    scan = jpeg.index(b"\xff\xda")
    at, size = int(random.integers(scan + 60, len(jpeg) - 1200)), int(random.integers(200, 1000))
    after = {
        "zeros": bytes(size) + jpeg[at + size :],
        "noise": random.bytes(size) + jpeg[at + size :],
        "missing": jpeg[at + size :],
        "cut and ended": b"\xff\xd9",
        "joined": other[-at // 2 :],
    }
    return jpeg[:at] + after[kind]


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
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.unlink()
    return data


def moving_clip(path: Path, times: Sequence[float], *, x264: str = "", side: int = 64, codec: str = "libx264") -> bytes:
    """A clip of a scene that moves, with frames at these times in seconds; `x264` holds parameters of the encoder."""
    scene = noise(4 * side, side)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"x264-params": x264} if x264 else {})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, at_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene[:, 2 * k % side :][:, :side]), format="rgb24")
            frame.pts, frame.time_base = round(1000 * at_s), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def level(image: np.ndarray) -> float:
    """Grey level of the right half, by which a frame of `mp4` is told from the others."""
    return float(image[:, -image.shape[1] // 4 :].mean())


def drawn_faces(width: int, height: int, *faces: tuple[int, int, int]) -> np.ndarray:
    """Cartoon heads that dlib's HOG detector finds, each (centre x, centre y, side) px, on grey."""
    image = np.full((height, width, 3), 90, np.uint8)
    for face in faces:
        _draw_face(image, *face)
    return cv2.GaussianBlur(image, (0, 0), 1.5)


def _draw_face(image: np.ndarray, centre_x: int, centre_y: int, side: int) -> None:
    scale = side / 200

    def ellipse(x: float, y: float, half_width: float, half_height: float, rgb: tuple[int, int, int]) -> None:
        centre = (int(centre_x + x * scale), int(centre_y + y * scale))
        axes = (max(1, int(half_width * scale)), max(1, int(half_height * scale)))
        cv2.ellipse(image, centre, axes, 0, 0, 360, rgb, -1, cv2.LINE_AA)

    ellipse(0, -20, 88, 112, (45, 35, 30))  # hair
    ellipse(0, 5, 76, 100, (215, 175, 150))  # skin
    for mirror in (-1, 1):
        ellipse(mirror * 32, -22, 20, 11, (150, 115, 95))  # eye socket, white, iris, brow, nostril
        ellipse(mirror * 32, -20, 14, 7, (235, 235, 235))
        ellipse(mirror * 32, -20, 7, 7, (30, 30, 30))
        ellipse(mirror * 32, -38, 20, 5, (60, 45, 40))
        ellipse(mirror * 10, 32, 5, 4, (120, 85, 70))
    ellipse(0, 10, 9, 26, (228, 190, 165))  # nose
    ellipse(0, 34, 16, 6, (165, 125, 105))
    ellipse(0, 60, 28, 9, (160, 80, 80))  # mouth, chin
    ellipse(0, 60, 28, 2, (90, 40, 40))
    ellipse(0, 82, 24, 6, (188, 148, 125))
