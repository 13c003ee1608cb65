"""Video files opened for reading: by demuxers of self-contained files alone, so that a file opens nothing else."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.error import FFmpegError
from av.stream import Disposition

from stages.runtime.errors import Rejected

Source = Path | bytes  # a video as a file, or its content

# Playlists, concatenations, devices and descriptions of streams are not among them: they name other files or addresses.
FORMATS = (
    "aac,aiff,ape,apng,asf,av1,avi,dhav,dirac,dnxhd,dv,flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,jpegxl_anim,live_flv,m4v,"
    "matroska,mjpeg,mov,mp3,mpeg,mpegts,mpegvideo,mpjpeg,mxf,nut,obu,ogg,rm,smjpeg,vc1,vvc,wav,webp_pipe,wtv,wv,"
    "yuv4mpegpipe"
)
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


def ffmpeg_name(path: Path) -> str:
    """The path as FFmpeg wants it: absolute, since a relative one with a colon is read as a URL."""
    return str(path.absolute())


def as_file(source: Source) -> BinaryIO:
    """The bytes of the video."""
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


@contextmanager
def opened(source: Source) -> Generator[tuple[Any, Any], None, None]:
    """The container and its first stream of moving pictures; the cover of a song is none.

    Raises:
        Rejected: no file, not a video, no such stream, or no decoder for it.
    """
    name = io.BytesIO(source) if isinstance(source, bytes) else ffmpeg_name(source)
    try:
        container = av.open(name, container_options=OPTIONS, metadata_errors="replace")
    except FFmpegError as error:
        raise Rejected("unreadable video", str(error.strerror)) from None
    with container:
        yield container, _moving(container)


def start_s(stream: Any) -> float:
    """Start time of the first frame by the container's clock."""
    return float(stream.start_time * stream.time_base) if stream.start_time else 0.0


def _moving(container: Any) -> Any:
    stream = next((one for one in container.streams.video if not one.disposition & Disposition.attached_pic), None)
    if stream is None:
        raise Rejected("no video stream")
    if stream.codec_context is None:
        raise Rejected("unreadable video", "there is no decoder for it")
    if stream.codec_context.name == "hevc":
        stream.codec_context.options = {"err_detect": "explode"}  # it tells no damage of a frame otherwise
    stream.codec_context.thread_count = 1  # so that damage is seen, and at the same frame on every machine
    return stream
