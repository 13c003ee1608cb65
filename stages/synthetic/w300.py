"""A synthetic 300-W release: images with 68 points each, in the owners' folders.

Writes afw/, helen/{trainset,testset}/, lfpw/{trainset,testset}/ and ibug/, each with images and a `.pts` file per image
(1-based pixel coordinates), and `Bounding Boxes/bounding_boxes_<folder>.mat`. Like the original, one ibug pair has a
space in its name, and ibug's box file lists images that do not exist.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from stages.synthetic.renderer import files, identity, parallel, photo
from stages.synthetic.renderer.expression import EMOTIONS
from stages.synthetic.renderer.layout import Array
from stages.synthetic.renderer.photo import PoseRange
from stages.synthetic.renderer.seeds import generator

# Share of each folder in its subset, from the owners' counts.
TRAINING = {"afw": 337 / 3148, "helen/trainset": 2000 / 3148, "lfpw/trainset": 811 / 3148}
COMMON = {"helen/testset": 330 / 554, "lfpw/testset": 224 / 554}
CHALLENGING = {"ibug": 1.0}
MODERATE = PoseRange(yaw_deg=(0, 32), pitch_deg=14, roll_deg=14)
LARGE = PoseRange(yaw_deg=(22, 44), pitch_deg=20, roll_deg=25)
IMAGES_PER_PERSON = 2
WITH_SPACE = "image_092 _01"
MISSING = 5  # images that are listed in ibug's box file and do not exist
MAT_TEXT = b"MATLAB 5.0 MAT-file, written by a renderer"
MAT_TEXT_BYTES = 116  # length of the header text, where scipy puts the time of writing


@dataclass(frozen=True)
class Params:
    training: int  # images
    common: int
    challenging: int


@dataclass(frozen=True)
class Session:
    """Images of one person, in one folder."""

    folder: str
    number: int  # of the person within the folder
    names: tuple[str, ...]


Photo = tuple[str, str, bytes, Array]  # folder, file name, JPEG or PNG, points (68, 2) px


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    rendered = parallel.render_all(partial(_render_session, seed=seed), _sessions(params), "synthetic w300")
    photos = list(chain.from_iterable(rendered))
    for subfolder, name, image, points in photos:
        files.write(folder / subfolder / name, image)
        files.write_lines((folder / subfolder / name).with_suffix(".pts"), _pts(points))
    for subfolder in sorted({subfolder for subfolder, *_ in photos}):
        faces = {name: points for of_folder, name, _, points in photos if of_folder == subfolder}
        path = folder / "Bounding Boxes" / f"bounding_boxes_{subfolder.replace('/', '_')}.mat"
        files.write(path, _mat(subfolder, faces, seed))


def apportion(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """`total` divided into whole numbers by `shares`, which add up to 1; the largest remainders are rounded up."""
    counts = {name: int(total * share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (counts[name] - total * shares[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _sessions(params: Params) -> list[Session]:
    subsets = ((params.training, TRAINING), (params.common, COMMON), (params.challenging, CHALLENGING))
    counts = {folder: count for total, shares in subsets for folder, count in apportion(total, shares).items()}
    sessions: list[Session] = []
    for folder, count in counts.items():
        names = [_name(folder, number) for number in range(1, count + 1)]
        groups = [names[start : start + IMAGES_PER_PERSON] for start in range(0, count, IMAGES_PER_PERSON)]
        sessions += [Session(folder, number, tuple(group)) for number, group in enumerate(groups)]
    return sessions


def _name(folder: str, number: int) -> str:
    if folder == "ibug":
        return f"{WITH_SPACE}.jpg" if number == 1 else f"image_{number + 1:03d}_1.jpg"
    return f"image_{number:04d}.png" if folder.startswith("lfpw") else f"{100_000 + number}_1.jpg"


def _render_session(session: Session, seed: int) -> list[Photo]:
    key = (seed, "w300", session.folder, session.number)
    person = identity.draw(generator(*key))
    poses = LARGE if session.folder in CHALLENGING else MODERATE
    photos: list[Photo] = []
    for name in session.names:
        rng = generator(*key, name)
        frame = photo.of_emotion(person, rng, emotion=str(rng.choice(list(EMOTIONS))), poses=poses, strength=(0.3, 1.0))
        image = files.png(frame.image) if name.endswith(".png") else files.jpeg(frame.image)
        photos.append((session.folder, name, image, frame.landmarks))
    return photos


def _pts(points: Array) -> list[str]:
    return ["version: 1", "n_points:  68", "{", *(f"{x:.6f} {y:.6f}" for x, y in points + 1), "}"]


def _mat(folder: str, points: Mapping[str, Array], seed: int) -> bytes:
    """A cell per image: its name, an inaccurate box as from a detector, and the box of its points; 1-based."""
    rng = generator(seed, "w300", folder, "boxes")
    listed = dict(points)
    if folder in CHALLENGING:
        any_face = next(iter(points.values()))
        listed |= {f"{number:03d}_missing.jpg": any_face for number in range(1, MISSING + 1)}
    cells = np.empty((1, len(listed)), object)
    for column, (name, face) in enumerate(sorted(listed.items())):
        box = np.concatenate([face.min(axis=0), face.max(axis=0)]) + 1
        detected = box + rng.normal(0, 0.05, 4) * (box[2] - box[0])
        cells[0, column] = {"imgName": name, "bb_detector": detected[None], "bb_ground_truth": box[None]}
    return _undated({"bounding_boxes": cells})


def _undated(content: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    savemat(file, content)
    return MAT_TEXT.ljust(MAT_TEXT_BYTES) + file.getvalue()[MAT_TEXT_BYTES:]
