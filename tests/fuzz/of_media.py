"""Images, videos and shards."""

from itertools import islice
from pathlib import Path

import odd_binaries
import seeds_of_media
import seeds_of_results
from target import Read, Target, put, rejectable

from pipelines.own import stills
from stages.footage import videos
from stages.runtime.errors import UserError
from stages.storage import headers, jpegs, media
from stages.storage.shards import Shards

MAX_FRAMES = 200  # of a video that are decoded


def image(data: bytes, folder: Path) -> None:
    rejectable(lambda: media.decode_stored(data)) if jpegs.is_jpeg(data) else None
    media.decode_image(data)


def still(data: bytes, folder: Path) -> None:
    stills.begins(put(folder, data, "a.jpg"))
    stills.decode(data)


def image_header(data: bytes, folder: Path) -> None:
    headers.size(data)
    headers.check_end(data)


def video(name: str) -> Read:
    def read(data: bytes, folder: Path) -> None:
        path = put(folder, data, name)
        try:
            videos.read_format(path)
        except UserError as error:
            str(error).encode()
        rejectable(lambda: list(islice(videos.clip_frames(data, 5.0), MAX_FRAMES)))
        for _ in islice(videos.frames(path), MAX_FRAMES):
            pass

    return read


def shard(data: bytes, folder: Path) -> None:
    put(folder, data, "00000.tar")
    with Shards(folder) as opened:
        for offset in (512, 1536):
            rejectable(lambda offset=offset: media.decode_stored(opened.read("00000.tar", offset, 700)))


TARGETS = (
    Target(
        "jpeg header",
        lambda: [*seeds_of_media.jpegs(), *seeds_of_media.opencv_images()],
        image_header,
        odd_binaries.pictures,
        1000,
        is_guided=True,
    ),
    Target("image", seeds_of_media.opencv_images, image, odd_binaries.pictures, 200),
    Target(
        "still",
        lambda: [*seeds_of_media.pillow_images(), *seeds_of_media.opencv_images()],
        still,
        odd_binaries.pictures,
        350,
    ),
    Target("video mp4", lambda: seeds_of_media.videos(".mp4", ".mov", ".3gp", ".m4v"), video("a.mp4"), None, 45),
    Target("video matroska", lambda: seeds_of_media.videos(".mkv", ".webm"), video("a.mkv"), None, 45),
    Target("video ts", lambda: seeds_of_media.videos(".ts", ".mpg"), video("a.ts"), None, 40),
    Target(
        "video other",
        lambda: seeds_of_media.videos(
            ".avi", ".flv", ".gif", ".wmv", ".nut", ".mjpeg", ".h264", ".y4m", ".mxf", ".ivf"
        ),
        video("a.avi"),
        None,
        60,
    ),
    Target("shard", seeds_of_results.shards, shard, None, 100),
)
