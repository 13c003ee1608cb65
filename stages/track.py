"""Face tracks of one's own videos: faces found, followed from frame to frame, and cut out as VoxCeleb2's are.

Reads: videos in data/raw, the detector's weight file if it needs one.
Writes: shards, a TRACK_FRAMES index with the detector in its metadata, rejects; contact sheets.

Every video is read twice: first to find the faces, then to cut them out, since a face's box is smoothed over its whole
track. A video that is cut short or damaged is used as far as it can be read, and is a reject too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fabnet.boxes import Box
from fabnet.images import cut, resize
from stages.faces import detection
from stages.footage import shots, tracks, videos
from stages.footage.tracks import FaceTrack, Seen, Square
from stages.preparation.encoded import FEWEST_FRAMES, EncodedImage, encode_frame
from stages.preparation.packing import Job, Place, pack
from stages.releases.readers import Reject, Video
from stages.runtime import command, limits, plugins
from stages.runtime.errors import Rejected
from stages.runtime.params import CropParams, DetectParams, GeometryParams, TrackParams
from stages.runtime.tables import TRACK_FRAMES
from stages.storage import media
from stages.storage.media import Image

SECTIONS = {"geometry": "dataset.{dataset}.crop", "track": "dataset.{dataset}.track"}

MAX_BYTES = 2**29  # of the crops of one video, which are in memory together


@dataclass(frozen=True)
class Settings:
    """All settings of the stage."""

    crop: CropParams
    detect: DetectParams
    geometry: GeometryParams
    track: TrackParams


@dataclass(frozen=True)
class Followed:
    """One face in one shot, and where it is in the frames that are kept."""

    identity_id: str
    video_id: str
    key: str
    squares: Mapping[int, Square]  # by frame number at 25 fps


def run(
    dataset: str,
    *,
    raw: Path,
    out: Path,
    sheets: Path,
    journal: Path = Path(".journal"),
    crop: CropParams,
    detect: DetectParams,
    geometry: GeometryParams,
    track: TrackParams,
) -> None:
    """Pack every face track of the videos in `raw` into `out`.

    Raises:
        UserError: there is no video or no face in any of them, or the detector lacks its weight file.
    """
    job = Job(
        Place(dataset, raw, out, sheets, journal),
        "track",
        TRACK_FRAMES,
        items="videos",
        items_per_unit=1,
        settings=[section.model_dump_json() for section in (crop, detect, geometry, track)],
        metadata=detection.configured(detect),
    )
    module = plugins.load("stages.datasets", dataset)
    work = partial(cut_tracks, settings=Settings(crop, detect, geometry, track))
    pack(job, module.read, work)


def cut_tracks(video: Video, *, settings: Settings) -> Iterator[EncodedImage | Reject]:
    """The crops of every face track of the video, track by track; a track that cannot be used is a reject.

    Raises:
        Rejected: no frame can be read, no face is found, or the crops take more than MAX_BYTES.
    """
    seen: list[Seen] = []
    try:
        seen.extend(_seen(video.path, settings))  # what came before an error stays in the list
    except Rejected as error:
        if not seen:
            raise
        yield Reject(video.key, error.kind, error.detail)
    usable: list[Followed] = []
    for result in _followed(video, seen, settings):
        if isinstance(result, Reject):
            yield result
        else:
            usable.append(result)
    if usable:
        yield from _crops(video.path, usable, settings)


def _seen(path: Path, settings: Settings) -> Iterator[Seen]:
    """The faces of every frame in which faces are searched."""
    before: Image | None = None
    for number, image in _sampled(path, settings.track.fps):
        small = shots.thumbnail(image)
        is_cut = before is not None and shots.likeness(before, small) < settings.track.least_likeness
        before = small
        yield Seen(number, _faces(image, settings), is_cut)


def _sampled(path: Path, fps: float) -> Iterator[tuple[int, Image]]:
    """Frame number at 25 fps by timestamp, ascending, and image, of about `fps` frames a second.

    Raises:
        Rejected: see `videos.frames`; or the video is too long. It may come after frames that can be used.
    """
    last = -1
    for frame in videos.frames(path, fps):
        number = round(frame.time_s * media.SOURCE_FPS)
        if frame.time_s > (most := limits.now().video_s):
            raise Rejected("video too long", f"its first {most:g} s are used")
        if number > last:
            last = number
            yield number, frame.image


def _faces(image: Image, settings: Settings) -> list[Box]:
    """Boxes of all faces, px of the image, which is shrunk for the search if it is large."""
    detect, (height, width) = settings.detect, image.shape[:2]
    if min(height, width) < detection.MIN_SIDE_PX:
        return []
    scale = min(1.0, settings.track.search_px / max(height, width))
    size = max(detection.MIN_SIDE_PX, round(width * scale)), max(detection.MIN_SIDE_PX, round(height * scale))
    find = detection.detector(detect.detector, detect.weights, detect.min_score)
    found = detection.first_found(resize(image, *size), find, detect.upsample)
    x, y = width / size[0], height / size[1]
    return [(x0 * x, y0 * y, x1 * x, y1 * y) for x0, y0, x1, y1 in found.boxes]


def _followed(video: Video, seen: Sequence[Seen], settings: Settings) -> Iterator[Followed | Reject]:
    """The tracks of the video, numbered in the order of their first frames.

    Raises:
        Rejected: there is none.
    """
    track = settings.track
    gap = round((track.gap_s + 1 / track.fps) * media.SOURCE_FPS)
    found = tracks.follow(seen, least_overlap=track.least_overlap, gap=gap)
    if not found:
        raise Rejected("no face detected", f"in {len(seen)} frames")
    for number, boxes in enumerate(found, 1):
        key = f"{video.key}/{number:05d}"
        try:
            squares = _squares(boxes, [frame.number for frame in seen], settings)
        except Rejected as error:
            yield Reject(key, error.kind, error.detail)
        else:
            yield Followed(video.identity_id, video.video_id, key, squares)


def _squares(boxes: FaceTrack, numbers: Sequence[int], settings: Settings) -> dict[int, Square]:
    """Where the face is in the frames of the track that are kept.

    Raises:
        Rejected: the track is too short or the face too small.
    """
    track = settings.track
    steady = tracks.steady(boxes, numbers, max(1, round(track.smooth_s * track.fps)))
    duration_s = (max(steady) - min(steady)) / media.SOURCE_FPS
    if duration_s < track.least_s:
        raise Rejected("track too short", f"{duration_s:.1f} s, at least {track.least_s:g} s are needed")
    side_px = float(np.median([side for _, _, side in steady.values()]))
    if side_px < track.least_px:
        raise Rejected("face too small", f"{side_px:.0f} px, at least {track.least_px} px are needed")
    kept = {media.grid_slot(number, settings.crop.fps): number for number in reversed(steady)}
    if len(kept) < FEWEST_FRAMES:
        raise Rejected(
            "too few frames", f"a pair needs {FEWEST_FRAMES}, found {len(kept)} at {settings.crop.fps:g} fps"
        )
    return {number: steady[number] for number in sorted(kept.values())}


def _crops(path: Path, followed: Sequence[Followed], settings: Settings) -> Iterator[EncodedImage]:
    """Crops of all tracks, track by track; the video is read once more.

    Raises:
        Rejected: they take more than MAX_BYTES.
    """
    crops: list[list[EncodedImage]] = [[] for _ in followed]
    free_bytes = MAX_BYTES
    for number, image in _readable(path, settings.track.fps):
        for track, of_track in zip(followed, crops, strict=True):
            if number in track.squares:
                of_track.append(_crop(track, number, image, settings))
                free_bytes -= len(of_track[-1].jpeg)
        if free_bytes < 0:
            raise Rejected("too many faces", f"their crops take more than {MAX_BYTES} bytes: cut the video into parts")
    for of_track in crops:
        yield from of_track


def _readable(path: Path, fps: float) -> Iterator[tuple[int, Image]]:
    """`_sampled`, up to the error that has been reported when the video was first read."""
    with suppress(Rejected):
        yield from _sampled(path, fps)


def _crop(track: Followed, number: int, image: Image, settings: Settings) -> EncodedImage:
    box = tracks.frame_box(track.squares[number], settings.track.face_frac, settings.track.face_y_frac)
    return encode_frame(track, number, cut(image, box), settings.crop, settings.geometry)


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
