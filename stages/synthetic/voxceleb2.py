"""The sample's VoxCeleb2: utterances as 224x224 H.264 clips in a ZIP that is cut into parts.

Writes `vox2_dev_mp4_partaa`, `..ab`, ..., which joined are one ZIP without compression with members
dev/mp4/<identity>/<video>/<utterance>.mp4, and `vox2_meta.csv`, where a blank stands before every comma.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from stages.synthetic.studio import casting, clip, crew, files
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.files import Member
from stages.synthetic.studio.seeds import generator

SIDE_PX = 224
FIRST_ID = 12
SCALE, CENTRE = (0.37, 0.42), (0.5, 0.37)  # the owners' boxes leave more room below the face than above


@dataclass(frozen=True)
class Params:
    identities: int
    tracks_per_identity: int
    seconds: float  # of every track
    parts: int  # of the ZIP


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    people = range(params.identities)
    shot = crew.render_all(partial(_film, params=params, seed=seed), people, "sample voxceleb2")
    files.write_zip_parts(folder / "vox2_dev_mp4", chain.from_iterable(shot), params.parts)
    files.write_lines(folder / "vox2_meta.csv", _meta(people, seed))


def _meta(people: range, seed: int) -> list[str]:
    header = ("VoxCeleb2 ID", "VGGFace2 ID", "Gender", "Set")
    rows = [
        (f"id{FIRST_ID + person:05d}", f"n{FIRST_ID + person:06d}", casting.gender(seed, "voxceleb2", person), "dev")
        for person in people
    ]
    return [" ,".join(row) + " " for row in (header, *rows)]


def _film(person: int, params: Params, seed: int) -> list[Member]:
    tracks = casting.tracks(seed, "voxceleb2", person, params.tracks_per_identity)
    place = f"dev/mp4/id{FIRST_ID + person:05d}"
    return [(f"{place}/{track.video_id}/{track.utterance:05d}.mp4", _clip(track, params)) for track in tracks]


def _clip(track: casting.Track, params: Params) -> bytes:
    rng = generator(*track.key)
    camera = Camera.square(SIDE_PX, float(rng.uniform(*SCALE)), CENTRE)
    count = round(params.seconds * clip.FPS)
    played = clip.play(track.who, rng, emotion=track.emotion, frames=count, camera=camera)
    return files.mp4((frame.image for _, frame in played), SIDE_PX)
