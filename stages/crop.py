"""Crops of face tracks: frames sampled in time and cut to the face, packed track by track.

Reads: a release of face tracks in data/raw. Writes: shards, a TRACK_FRAMES index, rejects; contact sheets.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from stages.footage import videos
from stages.preparation.encoded import FEWEST_FRAMES, EncodedImage, encode_frame, frame_id
from stages.preparation.packing import Job, Place, pack
from stages.releases.readers import Clip, Reject, Track
from stages.runtime import command, plugins
from stages.runtime.errors import Rejected
from stages.runtime.params import CropParams, GeometryParams
from stages.runtime.tables import TRACK_FRAMES
from stages.storage import media

SECTIONS = {"geometry": "dataset.{dataset}.crop"}


def run(
    dataset: str,
    *,
    raw: Path,
    out: Path,
    sheets: Path,
    journal: Path = Path(".journal"),
    crop: CropParams,
    geometry: GeometryParams,
) -> None:
    """Pack every track of the release in `raw` into `out`.

    Raises:
        UserError: the release is incomplete, or no track of it can be used.
    """
    module = plugins.load("stages.datasets", dataset)
    job = Job(
        Place(dataset, raw, out, sheets, journal),
        "crop",
        TRACK_FRAMES,
        items="tracks",
        items_per_unit=crop.tracks_per_unit,
        settings=[crop.model_dump_json(), geometry.model_dump_json()],
    )
    pack(job, module.read, partial(crop_track, crop=crop, geometry=geometry))


def crop_track(track: Track, *, crop: CropParams, geometry: GeometryParams) -> Iterator[EncodedImage | Reject]:
    """Crops of the track's frames, one per interval of 1/fps seconds; a frame that cannot be decoded is a reject.

    Raises:
        Rejected: a clip that is damaged or cannot be read, or fewer than two frames are left.
    """
    images = 0
    for frame in _frames(track, crop.fps):
        if isinstance(frame, Reject):
            yield frame
        else:
            images += 1
            yield encode_frame(track, *frame, crop, geometry)
    if images < FEWEST_FRAMES:
        raise Rejected("too few frames", f"a pair needs {FEWEST_FRAMES}, found {images} at {crop.fps:g} fps")


def _frames(track: Track, fps: float) -> Iterator[tuple[int, media.Image] | Reject]:
    """Frame number at 25 fps, and image."""
    if isinstance(track.media, Clip):
        yield from videos.clip_frames(track.media.read(), fps)
        return
    slot = -1
    for number, data in track.media.data:
        if media.grid_slot(number, fps) > slot:
            try:
                yield number, media.decode_image(data)
                slot = media.grid_slot(number, fps)
            except Rejected as error:
                yield Reject(frame_id(track, number), error.kind, error.detail)


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
