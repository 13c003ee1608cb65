"""Decoded images and video frames, and encoded JPEGs; size limits are checked before anything is decoded.

Arrays are (H, W, 3) uint8 RGB. What cannot be used raises `Rejected`.

Images: 16-bit samples become 8-bit, grey becomes three equal channels, alpha is dropped. An EXIF orientation
is ignored unless asked for: annotated boxes and points count the pixels as stored.

Videos: a clip that is cut short is rejected as a whole, so that half a track is never used as a whole one. A frame
that is neither kept nor needed for a kept one is not decoded: that it is there is checked, not what is inside of it.
"""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from stages.runtime.errors import Rejected
from stages.storage import h264, heads, listening

Image = NDArray[np.uint8]

MAX_FILE_BYTES = 256 * 2**20
MAX_SIDE_PX = 16_384
MAX_PIXELS = 90_000_000  # no decoder takes more than 1 GB for them
MAX_PX_PER_BYTE = 2_000  # of an encoded image; the smoothest photographs have about 200
MAX_VIDEO_SIDE_PX = 4_096
MAX_VIDEO_S = 1_800
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm"}
    | {".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".mpv", ".vob", ".mod", ".tod", ".dv", ".mxf", ".rm", ".rmvb", ".gif"}
    | {".ts", ".mts", ".m2ts", ".m2t", ".trp", ".3gp", ".3g2", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".hevc"}
    | {".y4m", ".ivf", ".nut", ".wtv", ".dav", ".insv", ".lrv"}
)
# As libjpeg and libtiff say it; OpenCV's own words around it are left out.
_DAMAGE = re.compile(rb"(Corrupt JPEG data|Premature end of JPEG file|(?<=TIFF_Error )).*")
_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
SOURCE_FPS = 25  # frame numbers count at this rate, whatever the rate of the video


def read_file(path: Path) -> bytes:
    """All bytes of one image or clip.

    Raises:
        Rejected: no such file, unreadable, or larger than MAX_FILE_BYTES.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise Rejected("file too large", f"{size} bytes, at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Rejected("no such file") from None
    except (PermissionError, IsADirectoryError, ValueError) as error:
        raise Rejected("unreadable file", str(error)) from None


def decode_image(data: bytes, *, upright: bool = False) -> Image:
    """One JPEG, PNG, BMP or TIFF image; `upright`: turned by its EXIF orientation. TIFF is always turned by its tag.

    What libjpeg and libtiff say of damage inside a scan or strip is a reject; they decode such data all the same.

    Raises:
        Rejected: another format, too large, empty, damaged or cut short.
    """
    check_image(data)
    return decode_checked(data, upright=upright)


def decode_checked(data: bytes, *, upright: bool = False) -> Image:
    """As `decode_image`, of any format that OpenCV reads; its size must have been checked.

    Raises:
        Rejected: damaged or cut short.
    """
    with listening.heard(_DAMAGE) as said:
        image = _decoded(data, upright)
    told = [line for line in said if not _is_padding(line, data)]
    if image is None or told:
        raise Rejected("image is damaged", told[0] if told else "")
    return image


def decode_stored(jpeg: bytes) -> Image:
    """As `decode_image`, of a JPEG that this project stored, so that damage inside it is not looked for.

    Several threads may do so at once; `decode_image` lets one go first.

    Raises:
        Rejected: cut short, or it cannot be decoded.
    """
    check_image(jpeg)
    if (image := _decoded(jpeg, upright=False)) is None:
        raise Rejected("image is damaged")
    return image


def check_image(data: bytes) -> None:
    """What can be found wrong without decoding.

    Raises:
        Rejected: another format, too large, empty, cut short, or of more pixels than its bytes can hold.
    """
    check_pixels(*heads.size(data), len(data))
    heads.check_end(data)


def check_pixels(width: int, height: int, size_bytes: int) -> None:
    """Whether an image of this size may be decoded from a file of this size.

    Raises:
        Rejected: empty, too large, or of more pixels than its bytes can hold.
    """
    _check_size(width, height, MAX_SIDE_PX)
    if width * height > MAX_PX_PER_BYTE * size_bytes:
        raise Rejected("image is damaged", f"{width}x{height} px cannot be in {size_bytes} bytes")


def encode_jpeg(image: Image, quality: int) -> bytes:
    """The image as baseline JPEG; equal pixels give equal bytes with one version of OpenCV."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f"OpenCV cannot encode an image of shape {image.shape}")
    return data.tobytes()


def grid_slot(number: int, fps: float) -> int:
    """Number of the interval of 1/fps seconds that frame `number` (at 25 fps) falls into; one frame of each is kept."""
    return int(number * fps / SOURCE_FPS + 1e-6)


def video_frames(clip: bytes | BinaryIO, fps: float) -> Iterator[tuple[int, Image]]:
    """The first frame of every interval of 1/fps seconds.

    Yields:
        Frame number at 25 fps by timestamp, 0 for the first frame, ascending; and the image.

    Raises:
        Rejected: no video, limits exceeded, damaged or cut short. It may come after some frames, which then must not
            be used.
    """
    try:
        with av.open(io.BytesIO(clip) if isinstance(clip, bytes) else clip) as container:
            if not container.streams.video:
                raise Rejected("no video in the clip")
            yield from _thinned(container, container.streams.video[0], fps)
    except FFmpegError as error:
        raise Rejected("clip is damaged or cut short", str(error.strerror)) from None


def _thinned(container: Any, stream: Any, fps: float) -> Iterator[tuple[int, Image]]:
    stream.codec_context.thread_count = 1
    _check_size(stream.codec_context.width, stream.codec_context.height, MAX_VIDEO_SIDE_PX)
    grid, to_rgb, slot = _Grid(stream, fps), VideoReformatter(), -1
    for packet in grid.needed(container.demux(stream)):
        for frame in packet.decode():
            number = grid.number(float(frame.time) if frame.time is not None else grid.frames / SOURCE_FPS)
            grid.frames += 1
            if grid_slot(number, fps) > slot:
                _check_size(frame.width, frame.height, MAX_VIDEO_SIDE_PX)
                slot = grid_slot(number, fps)
                yield number, np.asarray(to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)
    if grid.frames < stream.frames:
        raise Rejected("clip is damaged or cut short", f"{grid.frames} of {stream.frames} frames")
    if not grid.frames:
        raise Rejected("no video in the clip")


class _Grid:
    """Numbers the frames of a clip at 25 fps, and leaves out those that the first ones of the intervals do not need."""

    def __init__(self, stream: Any, fps: float) -> None:
        self.frames = 0  # decoded or left out
        self._fps, self._length_bytes = fps, h264.length_bytes(stream) if stream.frames else 0
        self._tick_s = stream.time_base.numerator, stream.time_base.denominator
        self._first_s: float | None = None  # time of the first frame
        self._earliest: dict[int, int] = {}  # interval -> time stamp of the earliest frame in it so far

    def number(self, at_s: float) -> int:
        """The number of the frame at this time.

        Raises:
            Rejected: it is later than MAX_VIDEO_S.
        """
        self._first_s = at_s if self._first_s is None else self._first_s
        if at_s - self._first_s > MAX_VIDEO_S:
            raise Rejected("clip too long", f"more than {MAX_VIDEO_S} s")
        return round((at_s - self._first_s) * SOURCE_FPS)

    def needed(self, packets: Iterable[Any]) -> Iterator[Any]:
        """All packets but those of frames that are not kept and that no kept one is predicted from.

        What other frames are predicted from waits for the next frame that may be kept.
        """
        waiting: list[Any] = []
        for packet in packets:
            units = self._units_if_not_kept(packet)
            if units and not h264.is_reference(units):
                self.frames += 1
            elif units:
                waiting.append(packet)
            else:
                if packet.size:
                    yield from waiting
                    waiting.clear()
                yield packet  # the last one is empty: it brings the frames that the decoder still holds
        self.frames += len(waiting)

    def _units_if_not_kept(self, packet: Any) -> list[int]:
        """First bytes of the packet's units if a packet before holds an earlier frame of the same interval; else empty.

        Empty as well in doubt: before the first frame was decoded, without a time stamp, if the frame is not to be
        shown, if the units do not fill the packet, and in all files but MP4 with H.264.
        """
        at = packet.pts
        if not self._length_bytes or self._first_s is None or at is None or packet.is_discard:
            return []
        slot = grid_slot(self.number(float(at) * self._tick_s[0] / self._tick_s[1]), self._fps)
        earliest = self._earliest.get(slot, at)
        if at <= earliest:
            self._earliest[slot] = at
            return []
        return h264.first_bytes(memoryview(packet), self._length_bytes)


def _check_size(width: int, height: int, max_side_px: int) -> None:
    if width < 1 or height < 1:
        raise Rejected("image has no pixels")
    if max(width, height) > max_side_px or width * height > MAX_PIXELS:
        raise Rejected("image too large", f"{width}x{height} px")


def _decoded(data: bytes, upright: bool) -> Image | None:
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _is_padding(said: str, data: bytes) -> bool:
    """Whether libjpeg only tells of zeros between the end of the scan and the end marker, as some cameras write."""
    surplus = _SURPLUS.search(said)
    return surplus is not None and bytes(int(surplus[1])) + b"\xff\xd9" in data
