"""A synthetic VoxCeleb1 release: face frames of talking heads, every sixth frame at 25 fps, as extracted by the owners.

Writes `dense-face-frames.tar.gz`, with the members
unzippedIntervalFaces/data/<Name>/1.6/<video>/<track>/<frame>.jpg, and the TAB separated `vox1_meta.csv`.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from stages.synthetic.renderer import clip, files, parallel, tracks
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.files import Member
from stages.synthetic.renderer.seeds import generator

ROOT = "unzippedIntervalFaces/data"
ENLARGED = "1.6"  # factor on the face box, a folder in the owners' archive
STEP = 6
FIRST_ID = 10001
SIDE_PX = (150, 280)
SCALE, CENTRE = (0.41, 0.46), (0.5, 0.42)  # of the head, as shares of the image's side


@dataclass(frozen=True)
class Params:
    identities: int
    tracks_per_identity: int
    seconds: float  # duration of every track


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    people = range(params.identities)
    rendered = parallel.render_all(partial(_render_person, params=params, seed=seed), people, "synthetic voxceleb1")
    files.write_tar_gz(folder / "dense-face-frames.tar.gz", chain.from_iterable(rendered))
    files.write_lines(folder / "vox1_meta.csv", _meta(people, seed))


def _name(person: int) -> str:
    return f"Sample_Person_{person + 1:03d}"


def _meta(people: range, seed: int) -> list[str]:
    header = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")
    rows = [
        (f"id{FIRST_ID + person}", _name(person), tracks.gender(seed, "voxceleb1", person), "Nowhere", "dev")
        for person in people
    ]
    return ["\t".join(row) for row in (header, *rows)]


def _render_person(person: int, params: Params, seed: int) -> list[Member]:
    """All frames of one person, sorted by video, track and frame."""
    of_person = tracks.of_person(seed, "voxceleb1", person, params.tracks_per_identity)
    return [member for track in of_person for member in _render_track(track, params, _name(person))]


def _render_track(track: tracks.Track, params: Params, name: str) -> list[Member]:
    rng = generator(*track.key)
    side_px = int(rng.integers(*SIDE_PX))
    camera = Camera.square(side_px, float(rng.uniform(*SCALE)), CENTRE)
    first = STEP * int(rng.integers(0, 500))
    count = round(params.seconds * clip.FPS)
    frames = clip.render_clip(track.person, rng, emotion=track.emotion, frames=count, camera=camera, step=STEP)
    folder = f"{ROOT}/{name}/{ENLARGED}/{track.video_id}/{track.utterance}"
    return [
        (f"{folder}/{first + STEP * number:07d}.jpg", files.jpeg(frame.image))
        for number, (_, frame) in enumerate(frames)
    ]
