"""The sample's 300-W: pictures with 68 points each, in the owners' folders.

Writes afw/, helen/{trainset,testset}/, lfpw/{trainset,testset}/ and ibug/ with a picture and a `.pts` file each
(1-based pixel coordinates), and `Bounding Boxes/bounding_boxes_<folder>.mat`. Two oddities of the original are
kept: one ibug pair has a blank in its name, and ibug's box file lists pictures that do not exist.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from stages.synthetic.studio import crew, files, identity, portrait
from stages.synthetic.studio.expression import EMOTIONS
from stages.synthetic.studio.layout import Array
from stages.synthetic.studio.portrait import Turn
from stages.synthetic.studio.seeds import generator

# folder -> share of its subset, by the owners' counts
TRAINING = {"afw": 337 / 3148, "helen/trainset": 2000 / 3148, "lfpw/trainset": 811 / 3148}
COMMON = {"helen/testset": 330 / 554, "lfpw/testset": 224 / 554}
CHALLENGING = {"ibug": 1.0}
ORDINARY = Turn(yaw_deg=(0, 32), pitch_deg=14, roll_deg=14)
LARGE = Turn(yaw_deg=(22, 44), pitch_deg=20, roll_deg=25)
PICTURES_PER_PERSON = 2
WITH_BLANK = "image_092 _01"
MISSING = 5  # further names in ibug's box file
MAT_TEXT = b"MATLAB 5.0 MAT-file, written by a renderer"
MAT_TEXT_BYTES = 116  # a free text; scipy puts the time of writing there


@dataclass(frozen=True)
class Params:
    training: int  # pictures
    common: int
    challenging: int


@dataclass(frozen=True)
class Sitting:
    """Pictures of one person, for one folder."""

    folder: str
    person: int
    names: tuple[str, ...]


Shot = tuple[str, str, bytes, Array]  # folder, file name, picture, points (68, 2)


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    shots = [
        shot
        for shots in crew.render_all(partial(_portray, seed=seed), _sittings(params), "sample w300")
        for shot in shots
    ]
    for place, name, picture, points in shots:
        files.write(folder / place / name, picture)
        files.write_lines((folder / place / name).with_suffix(".pts"), _pts(points))
    for place in sorted({shot[0] for shot in shots}):
        boxes = {name: points for where, name, _, points in shots if where == place}
        files.write(
            folder / "Bounding Boxes" / f"bounding_boxes_{place.replace('/', '_')}.mat", _mat(place, boxes, seed)
        )


def deal(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """`total` dealt by `shares`, which add up to 1; the largest remainders are rounded up."""
    counts = {name: int(total * share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (counts[name] - total * shares[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _sittings(params: Params) -> list[Sitting]:
    counts = deal(params.training, TRAINING) | deal(params.common, COMMON) | deal(params.challenging, CHALLENGING)
    sittings: list[Sitting] = []
    for folder, count in counts.items():
        names = [_name(folder, number) for number in range(1, count + 1)]
        groups = [names[at : at + PICTURES_PER_PERSON] for at in range(0, count, PICTURES_PER_PERSON)]
        sittings += [Sitting(folder, person, tuple(group)) for person, group in enumerate(groups)]
    return sittings


def _name(folder: str, number: int) -> str:
    if folder == "ibug":
        return f"{WITH_BLANK}.jpg" if number == 1 else f"image_{number + 1:03d}_1.jpg"
    return f"image_{number:04d}.png" if folder.startswith("lfpw") else f"{100_000 + number}_1.jpg"


def _portray(sitting: Sitting, seed: int) -> list[Shot]:
    key = (seed, "w300", sitting.folder, sitting.person)
    who = identity.draw(generator(*key))
    turn = LARGE if sitting.folder in CHALLENGING else ORDINARY
    shots: list[Shot] = []
    for name in sitting.names:
        rng = generator(*key, name)
        frame = portrait.take(who, rng, emotion=str(rng.choice(list(EMOTIONS))), turn=turn, strength=(0.3, 1.0))
        picture = files.png(frame.image) if name.endswith(".png") else files.jpeg(frame.image)
        shots.append((sitting.folder, name, picture, frame.landmarks))
    return shots


def _pts(points: Array) -> list[str]:
    return ["version: 1", "n_points:  68", "{", *(f"{x:.6f} {y:.6f}" for x, y in points + 1), "}"]


def _mat(folder: str, points: Mapping[str, Array], seed: int) -> bytes:
    """A cell per picture: its name, a rough box as if detected, and the box of its points; 1-based."""
    rng = generator(seed, "w300", folder, "boxes")
    listed = dict(points)
    if folder in CHALLENGING:
        some = next(iter(points.values()))
        listed |= {f"{number:03d}_missing.jpg": some for number in range(1, MISSING + 1)}
    cells = np.empty((1, len(listed)), object)
    for column, (name, face) in enumerate(sorted(listed.items())):
        box = np.concatenate([face.min(axis=0), face.max(axis=0)]) + 1
        rough = box + rng.normal(0, 0.05, 4) * (box[2] - box[0])
        cells[0, column] = {"imgName": name, "bb_detector": rough[None], "bb_ground_truth": box[None]}
    return _undated({"bounding_boxes": cells})


def _undated(content: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    savemat(file, content)
    return MAT_TEXT.ljust(MAT_TEXT_BYTES) + file.getvalue()[MAT_TEXT_BYTES:]
