"""A synthetic VoxCeleb2 release: utterances as 224x224 H.264 clips in a ZIP that is split into parts.

Writes `vox2_dev_mp4_partaa`, `..ab`, ..., which joined are one uncompressed ZIP with the members
dev/mp4/<identity>/<video>/<utterance>.mp4, and `vox2_meta.csv`, with a space before every comma.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from stages.synthetic.renderer import clip, files, parallel, tracks
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.files import Member
from stages.synthetic.renderer.seeds import generator

SIDE_PX = 224
FIRST_ID = 12
SCALE, CENTRE = (0.37, 0.42), (0.5, 0.37)  # the owners' boxes extend further below the face than above it


@dataclass(frozen=True)
class Params:
    identities: int
    tracks_per_identity: int
    seconds: float  # duration of every track
    parts: int  # of the ZIP


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    people = range(params.identities)
    rendered = parallel.render_all(partial(_render_person, params=params, seed=seed), people, "synthetic voxceleb2")
    files.write_zip_parts(folder / "vox2_dev_mp4", chain.from_iterable(rendered), params.parts)
    files.write_lines(folder / "vox2_meta.csv", _meta(people, seed))


def _meta(people: range, seed: int) -> list[str]:
    header = ("VoxCeleb2 ID", "VGGFace2 ID", "Gender", "Set")
    rows = [
        (f"id{FIRST_ID + person:05d}", f"n{FIRST_ID + person:06d}", tracks.gender(seed, "voxceleb2", person), "dev")
        for person in people
    ]
    return [" ,".join(row) + " " for row in (header, *rows)]


def _render_person(person: int, params: Params, seed: int) -> list[Member]:
    """The clips of one person, sorted by video and utterance."""
    of_person = tracks.of_person(seed, "voxceleb2", person, params.tracks_per_identity)
    folder = f"dev/mp4/id{FIRST_ID + person:05d}"
    return [
        (f"{folder}/{track.video_id}/{track.utterance:05d}.mp4", _render_track(track, params)) for track in of_person
    ]


def _render_track(track: tracks.Track, params: Params) -> bytes:
    rng = generator(*track.key)
    camera = Camera.square(SIDE_PX, float(rng.uniform(*SCALE)), CENTRE)
    count = round(params.seconds * clip.FPS)
    frames = clip.render_clip(track.person, rng, emotion=track.emotion, frames=count, camera=camera)
    return files.mp4((frame.image for _, frame in frames), SIDE_PX)
