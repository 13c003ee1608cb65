"""The sample's AffectNet: pictures with one of eight expressions, and what the real one is known for besides.

Writes `Manually_Annotated_Images/<folder>/<hash>.jpg` and `Manually_Annotated_file_lists/{training,validation}.csv`
with the owners' nine columns; only the training list has a header line. Training is imbalanced, validation balanced
over the eight expressions. Both hold some pictures of the codes 8 none, 9 uncertain and 10 non-face; training also
holds labelled pictures without a face, pictures that are there twice, and a JPEG that is cut short.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from stages.synthetic.studio import crew, files, identity, portrait
from stages.synthetic.studio.expression import EMOTIONS
from stages.synthetic.studio.layout import Array
from stages.synthetic.studio.portrait import Turn
from stages.synthetic.studio.seeds import generator

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
CODES = tuple(EMOTIONS)  # codes 0 to 7
NONE, UNCERTAIN, NON_FACE = 8, 9, 10
# The owners' training counts by code; rare ones are lifted, so that a list of some hundred holds each of them.
OWNERS_COUNTS = (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750)
SMALLEST_SHARE = 0.04
UNUSABLE = {NONE: 0.02, UNCERTAIN: 0.01, NON_FACE: 0.02}  # added to a list, as shares of its labelled pictures
TWICE = 0.01
WITHOUT_FACE = 0.003
BROKEN = 1
# Where the expressions lie on the circumplex; written with some jitter, not derived from the picture.
VALENCE_AROUSAL = (
    (0.0, 0.0), (0.8, 0.3), (-0.7, -0.3), (0.2, 0.8), (-0.5, 0.8), (-0.7, 0.4), (-0.6, 0.7), (-0.5, 0.4),
)  # fmt: skip
NO_VALUE = "-2"
FOLDERS = 12
PICTURES_PER_PERSON = 4
TURN = Turn()
BOX_MARGIN = 0.12


@dataclass(frozen=True)
class Params:
    training: int  # pictures with one of the eight expressions
    validation: int


@dataclass(frozen=True)
class Sitting:
    """Pictures of one person, one for each code."""

    split: str
    person: int
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Shot:
    code: int
    picture: bytes
    landmarks: Array | None  # (68, 2); none where nobody is in the picture
    valence_arousal: tuple[str, str]


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    codes = {"training": training_codes(params.training), "validation": validation_codes(params.validation)}
    sittings = [sitting for split in codes for sitting in _sittings(split, codes[split], seed)]
    shots: dict[str, list[Shot]] = {split: [] for split in codes}
    rendered = crew.render_all(partial(_portray, seed=seed), sittings, "sample affectnet")
    for sitting, of_person in zip(sittings, rendered, strict=True):
        shots[sitting.split] += of_person
    shots["training"] += _spoilt(shots["training"], params.training, seed)
    for split, header in (("training", [HEADER]), ("validation", [])):
        _write_list(folder, split, shots[split], header, seed)


def training_codes(total: int) -> list[int]:
    """`total` codes 0 to 7 with the owners' imbalance, then those of pictures that nobody can use."""
    shares = np.maximum(np.array(OWNERS_COUNTS) / sum(OWNERS_COUNTS), SMALLEST_SHARE)
    ends = np.rint(np.cumsum(shares / shares.sum()) * total).astype(int)
    counts = np.diff(ends, prepend=0)
    return np.repeat(range(len(CODES)), counts).tolist() + _unusable(total)


def validation_codes(total: int) -> list[int]:
    """`total` codes 0 to 7 in equal numbers as far as that goes, then those of pictures that nobody can use."""
    return [number % len(CODES) for number in range(total)] + _unusable(total)


def _unusable(total: int) -> list[int]:
    return [code for code, share in UNUSABLE.items() for _ in range(max(1, round(share * total)))]


def _sittings(split: str, codes: list[int], seed: int) -> Iterator[Sitting]:
    mixed = generator(seed, "affectnet", split, "codes").permutation(codes).tolist()
    for person, at in enumerate(range(0, len(mixed), PICTURES_PER_PERSON)):
        yield Sitting(split, person, tuple(mixed[at : at + PICTURES_PER_PERSON]))


def _portray(sitting: Sitting, seed: int) -> list[Shot]:
    key = (seed, "affectnet", sitting.split, sitting.person)
    who = identity.draw(generator(*key))
    return [_shoot(who, code, generator(*key, number)) for number, code in enumerate(sitting.codes)]


def _shoot(who: identity.Identity, code: int, rng: np.random.Generator) -> Shot:
    quality = int(rng.integers(70, 96))
    if code == NON_FACE:
        return Shot(code, files.jpeg(portrait.empty_room(rng), quality), None, (NO_VALUE, NO_VALUE))
    usable = code < len(CODES)
    emotion = CODES[code if usable else int(rng.integers(len(CODES)))]
    frame = portrait.take(who, rng, emotion=emotion, turn=TURN, strength=(0.5, 1.0) if usable else (0.0, 0.4))
    return Shot(code, files.jpeg(frame.image, quality), frame.landmarks, _valence_arousal(code, rng))


def _valence_arousal(code: int, rng: np.random.Generator) -> tuple[str, str]:
    if code >= len(CODES):
        return NO_VALUE, NO_VALUE
    valence, arousal = np.clip(np.array(VALENCE_AROUSAL[code]) + rng.normal(0, 0.08, 2), -1, 1)
    return f"{valence:.4f}", f"{arousal:.4f}"


def _spoilt(shots: list[Shot], total: int, seed: int) -> Iterator[Shot]:
    """Further pictures of the training list: labelled ones without a face, second copies, a broken file."""
    rng = generator(seed, "affectnet", "spoilt")
    labelled = [shot for shot in shots if shot.code < len(CODES)]
    picked = iter(rng.permutation(len(labelled)).tolist())
    for _ in range(max(1, round(WITHOUT_FACE * total))):
        yield replace(labelled[next(picked)], picture=files.jpeg(portrait.empty_room(rng)))
    for _ in range(max(1, round(TWICE * total))):
        yield labelled[next(picked)]
    for _ in range(BROKEN):
        whole = labelled[next(picked)]
        yield replace(whole, picture=whole.picture[: len(whole.picture) // 2])


def _write_list(folder: Path, split: str, shots: list[Shot], header: list[str], seed: int) -> None:
    rows: list[str] = []
    for number, shot in enumerate(shots):
        name = files.digest(seed, "affectnet", split, number)
        place = f"{int(name[:8], 16) % FOLDERS + 1}/{name}.jpg"
        files.write(folder / "Manually_Annotated_Images" / place, shot.picture)
        rows.append(",".join((place, *_where(shot.landmarks), str(shot.code), *shot.valence_arousal)))
    files.write_lines(folder / "Manually_Annotated_file_lists" / f"{split}.csv", header + sorted(rows))


def _where(landmarks: Array | None) -> tuple[str, ...]:
    """The five columns of face box and landmarks; without a face a box of size 0 and no landmarks."""
    if landmarks is None:
        return "0", "0", "0", "0", ""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    margin = BOX_MARGIN * (high - low)
    corner, size = np.rint(low - margin).astype(int), np.rint(high - low + 2 * margin).astype(int)
    return *map(str, (*corner.tolist(), *size.tolist())), ";".join(f"{value:.2f}" for value in landmarks.ravel())
