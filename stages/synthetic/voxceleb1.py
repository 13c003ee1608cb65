"""The sample's VoxCeleb1: face frames of talking heads, every sixth of 25 a second, as the owners extracted them.

Writes `dense-face-frames.tar.gz`, whose members are called
unzippedIntervalFaces/data/<Name>/1.6/<video>/<track>/<frame>.jpg, and the TAB separated `vox1_meta.csv`.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from stages.synthetic.studio import casting, clip, crew, files
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.files import Member
from stages.synthetic.studio.seeds import generator

ROOT = "unzippedIntervalFaces/data"
ENLARGED = "1.6"  # factor on the face box, a level of the owners' tree
STEP = 6
FIRST_ID = 10001
SIDE_PX = (150, 280)
SCALE, CENTRE = (0.41, 0.46), (0.5, 0.42)  # of the head in the square picture


@dataclass(frozen=True)
class Params:
    identities: int
    tracks_per_identity: int
    seconds: float  # of every track


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    people = range(params.identities)
    shot = crew.render_all(partial(_film, params=params, seed=seed), people, "sample voxceleb1")
    files.write_tar_gz(folder / "dense-face-frames.tar.gz", chain.from_iterable(shot))
    files.write_lines(folder / "vox1_meta.csv", _meta(people, seed))


def _name(person: int) -> str:
    return f"Sample_Person_{person + 1:03d}"


def _meta(people: range, seed: int) -> list[str]:
    header = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")
    rows = [
        (f"id{FIRST_ID + person}", _name(person), casting.gender(seed, "voxceleb1", person), "Nowhere", "dev")
        for person in people
    ]
    return ["\t".join(row) for row in (header, *rows)]


def _film(person: int, params: Params, seed: int) -> list[Member]:
    """All frames of one person, sorted by video, track and frame."""
    tracks = casting.tracks(seed, "voxceleb1", person, params.tracks_per_identity)
    return [member for track in tracks for member in _frames(track, params, _name(person))]


def _frames(track: casting.Track, params: Params, name: str) -> list[Member]:
    rng = generator(*track.key)
    side_px = int(rng.integers(*SIDE_PX))
    camera = Camera.square(side_px, float(rng.uniform(*SCALE)), CENTRE)
    first = STEP * int(rng.integers(0, 500))
    count = round(params.seconds * clip.FPS)
    pictures = clip.play(track.who, rng, emotion=track.emotion, frames=count, camera=camera, step=STEP)
    place = f"{ROOT}/{name}/{ENLARGED}/{track.video_id}/{track.utterance}"
    return [
        (f"{place}/{first + STEP * number:07d}.jpg", files.jpeg(frame.image))
        for number, (_, frame) in enumerate(pictures)
    ]
