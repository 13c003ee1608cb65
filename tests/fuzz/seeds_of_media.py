"""Small images and videos in every format that is read."""

import io
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from media_samples import encoded, noise, written

CONTAINERS = {  # suffix -> encoder
    ".mp4": "libx264", ".mov": "mpeg4", ".mkv": "libx264", ".webm": "libvpx", ".avi": "mpeg4", ".ts": "libx264",
    ".mpg": "mpeg2video", ".flv": "flv", ".gif": "gif", ".wmv": "wmv2", ".3gp": "h263", ".nut": "mpeg4",
    ".mjpeg": "mjpeg", ".h264": "libx264", ".y4m": "rawvideo", ".mxf": "mpeg2video", ".m4v": "mpeg4", ".ivf": "libvpx",
}  # fmt: skip


def opencv_images() -> list[bytes]:
    image = noise(24, 16)
    images = [encoded(image, kind) for kind in (".jpg", ".png", ".bmp", ".tiff")]
    progressive = [
        written(image, "JPEG", progressive=True),
        written(image, "JPEG", mode="L"),
        written(image, "JPEG", mode="CMYK"),
    ]
    packings = [written(image, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    more = [written(image, "PNG", mode="P"), written(image, "PNG", mode="L"), written(image, "BMP", mode="L")]
    return [*images, *progressive, *packings, *more, written(image, "JPEG", exif={0x0112: 6})]


def pillow_images() -> list[bytes]:
    image = noise(24, 16)
    kinds = ("WEBP", "AVIF", "HEIF", "JPEG2000", "PPM")
    return [*(written(image, kind) for kind in kinds), written(image, "WEBP", lossless=True), *_pages(image)]


def _pages(image: np.ndarray) -> list[bytes]:
    import PIL.Image

    picture, found = PIL.Image.fromarray(image), []
    for kind in ("TIFF", "WEBP"):
        buffer = io.BytesIO()
        picture.save(buffer, kind, save_all=True, append_images=[picture.transpose(PIL.Image.Transpose.ROTATE_180)])
        found.append(buffer.getvalue())
    return found


@cache
def jpegs() -> list[bytes]:
    image = noise(24, 16)
    return [encoded(image), written(image, "JPEG", progressive=True), written(noise(64, 48), "JPEG", quality=95)]


def videos(*suffixes: str) -> list[bytes]:
    found = []
    for suffix in suffixes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"clip{suffix}")
            options = {"movflags": "frag_keyframe+empty_moov"} if suffix == ".mov" else {}
            with av.open(str(path), "w", options=options) as container:
                stream = container.add_stream(CONTAINERS[suffix], rate=25)
                side = 176 if suffix == ".3gp" else 48
                stream.width, stream.height = side, 144 if suffix == ".3gp" else 32
                stream.pix_fmt = {".gif": "rgb8", ".mjpeg": "yuvj420p"}.get(suffix, "yuv420p")
                stream.codec_context.time_base = Fraction(1, 25)
                for number in range(6):
                    image = np.roll(noise(stream.width, stream.height), 3 * number, axis=1)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                container.mux(stream.encode())
            found.append(path.read_bytes())
    return found
