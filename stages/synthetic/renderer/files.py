"""The files of a release, with the same bytes on every run: images, clips, archives in parts, text."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import av
import cv2
import numpy as np

from stages.synthetic.renderer.canvas import Image

FPS = 25
# More threads, or x264's macroblock tree, make the bytes differ from process to process.
H264 = {"preset": "veryfast", "crf": "21", "threads": "1", "x264-params": "mbtree=0"}
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

Member = tuple[str, bytes]  # name inside an archive, content


def jpeg(image: Image, quality: int = 92) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def png(image: Image) -> bytes:
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def mp4(images: Iterable[Image], side_px: int) -> bytes:
    """Square BGR images as an H.264 clip at 25 fps."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as clip:
        stream: Any = clip.add_stream("libx264", rate=FPS, options=H264)
        stream.width = stream.height = side_px
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for image in images:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")))
        clip.mux(stream.encode())
    return file.getvalue()


def write_tar_gz(path: Path, members: Iterable[Member]) -> None:
    """A gzip-compressed tar of `members` in their order, without times or owners."""
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_zip_parts(stem: Path, members: Iterable[Member], parts: int) -> None:
    """An uncompressed ZIP cut into `parts` files of about equal size: `<stem>_partaa`, `<stem>_partab`, ...

    Raises:
        ValueError: there are more parts than two-letter suffixes.
    """
    if parts > len(ascii_lowercase) ** 2:
        raise ValueError(f"parts should be at most {len(ascii_lowercase) ** 2}, found {parts}")
    whole = stem.with_name(f".{stem.name}.zip")
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), data)
    part_bytes = -(-whole.stat().st_size // parts)
    with whole.open("rb") as file:
        for suffix in _suffixes(parts):
            stem.with_name(f"{stem.name}_part{suffix}").write_bytes(file.read(part_bytes))
    whole.unlink()


def _suffixes(count: int) -> Iterator[str]:
    """aa, ab, ac, ..."""
    for number in range(count):
        yield ascii_lowercase[number // 26] + ascii_lowercase[number % 26]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """UTF-8 text with LF after every line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def digest(*key: int | str) -> str:
    """56 hex digits that `key` determines, for file names."""
    return hashlib.sha224("/".join(map(str, key)).encode()).hexdigest()
