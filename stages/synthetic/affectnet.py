"""A synthetic AffectNet release: images with one of eight expressions, and the defects of the real data set.

Writes `Manually_Annotated_Images/<folder>/<hash>.jpg` and `Manually_Annotated_file_lists/{training,validation}.csv`
with the owners' nine columns; only the training list has a header line. The eight expressions are imbalanced in the
training list and balanced in the validation list. Both contain some images of the codes 8 none, 9 uncertain and 10
non-face; the training list also contains labelled images without a face, duplicates and a truncated JPEG.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from stages.synthetic.renderer import files, identity, parallel, photo
from stages.synthetic.renderer.expression import EMOTIONS
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array
from stages.synthetic.renderer.photo import PoseRange
from stages.synthetic.renderer.seeds import generator

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
CODES = tuple(EMOTIONS)  # codes 0 to 7
NONE, UNCERTAIN, NON_FACE = 8, 9, 10
# The owners' training counts by code; shares are at least SMALLEST_SHARE, so that a short list has every code.
OWNERS_COUNTS = (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750)
SMALLEST_SHARE = 0.04
UNUSABLE = {NONE: 0.02, UNCERTAIN: 0.01, NON_FACE: 0.02}  # further images of a list, as shares of its labelled images
DUPLICATE = 0.01  # further images of the training list, as shares of its labelled images
WITHOUT_FACE = 0.003
TRUNCATED = 1  # images
# Valence and arousal by code; written with some jitter, not derived from the image.
VALENCE_AROUSAL = (
    (0.0, 0.0), (0.8, 0.3), (-0.7, -0.3), (0.2, 0.8), (-0.5, 0.8), (-0.7, 0.4), (-0.6, 0.7), (-0.5, 0.4),
)  # fmt: skip
NO_VALUE = "-2"
FOLDERS = 12
IMAGES_PER_PERSON = 4
POSES = PoseRange()
BOX_MARGIN = 0.12  # of the landmarks' extent


@dataclass(frozen=True)
class Params:
    training: int  # images with one of the eight expressions
    validation: int


@dataclass(frozen=True)
class Session:
    """One person, and the codes of their images."""

    split: str
    number: int  # of the person within the split
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Photo:
    code: int
    image: bytes  # JPEG
    landmarks: Array | None  # (68, 2) px; None without a face
    valence_arousal: tuple[str, str]


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    codes = {"training": training_codes(params.training), "validation": validation_codes(params.validation)}
    sessions = [session for split in codes for session in _sessions(split, codes[split], seed)]
    photos: dict[str, list[Photo]] = {split: [] for split in codes}
    rendered = parallel.render_all(partial(_render_session, seed=seed), sessions, "synthetic affectnet")
    for session, of_session in zip(sessions, rendered, strict=True):
        photos[session.split] += of_session
    photos["training"] += _defective(photos["training"], params.training, seed)
    for split, header in (("training", [HEADER]), ("validation", [])):
        _write_list(folder, split, photos[split], header, seed)


def training_codes(total: int) -> list[int]:
    """`total` codes 0 to 7 with the owners' imbalance, then the codes of unusable images."""
    shares = np.maximum(np.array(OWNERS_COUNTS) / sum(OWNERS_COUNTS), SMALLEST_SHARE)
    ends = np.rint(np.cumsum(shares / shares.sum()) * total).astype(int)
    counts = np.diff(ends, prepend=0)
    return np.repeat(range(len(CODES)), counts).tolist() + _unusable(total)


def validation_codes(total: int) -> list[int]:
    """`total` codes 0 to 7 in turn, then the codes of unusable images."""
    return [number % len(CODES) for number in range(total)] + _unusable(total)


def _unusable(total: int) -> list[int]:
    return [code for code, share in UNUSABLE.items() for _ in range(max(1, round(share * total)))]


def _sessions(split: str, codes: list[int], seed: int) -> Iterator[Session]:
    shuffled = generator(seed, "affectnet", split, "codes").permutation(codes).tolist()
    for number, start in enumerate(range(0, len(shuffled), IMAGES_PER_PERSON)):
        yield Session(split, number, tuple(shuffled[start : start + IMAGES_PER_PERSON]))


def _render_session(session: Session, seed: int) -> list[Photo]:
    key = (seed, "affectnet", session.split, session.number)
    person = identity.draw(generator(*key))
    return [_render_photo(person, code, generator(*key, index)) for index, code in enumerate(session.codes)]


def _render_photo(person: Identity, code: int, rng: np.random.Generator) -> Photo:
    quality = int(rng.integers(70, 96))
    if code == NON_FACE:
        return Photo(code, files.jpeg(photo.without_face(rng), quality), None, (NO_VALUE, NO_VALUE))
    usable = code < len(CODES)
    emotion = CODES[code if usable else int(rng.integers(len(CODES)))]
    frame = photo.of_emotion(person, rng, emotion=emotion, poses=POSES, strength=(0.5, 1.0) if usable else (0.0, 0.4))
    return Photo(code, files.jpeg(frame.image, quality), frame.landmarks, _valence_arousal(code, rng))


def _valence_arousal(code: int, rng: np.random.Generator) -> tuple[str, str]:
    if code >= len(CODES):
        return NO_VALUE, NO_VALUE
    valence, arousal = np.clip(np.array(VALENCE_AROUSAL[code]) + rng.normal(0, 0.08, 2), -1, 1)
    return f"{valence:.4f}", f"{arousal:.4f}"


def _defective(photos: list[Photo], total: int, seed: int) -> Iterator[Photo]:
    """Further images of the training list: labelled images without a face, duplicates, a truncated JPEG."""
    rng = generator(seed, "affectnet", "spoilt")
    labelled = [item for item in photos if item.code < len(CODES)]
    order = iter(rng.permutation(len(labelled)).tolist())
    for _ in range(max(1, round(WITHOUT_FACE * total))):
        yield replace(labelled[next(order)], image=files.jpeg(photo.without_face(rng)))
    for _ in range(max(1, round(DUPLICATE * total))):
        yield labelled[next(order)]
    for _ in range(TRUNCATED):
        whole = labelled[next(order)]
        yield replace(whole, image=whole.image[: len(whole.image) // 2])


def _write_list(folder: Path, split: str, photos: list[Photo], header: list[str], seed: int) -> None:
    rows: list[str] = []
    for number, item in enumerate(photos):
        name = files.digest(seed, "affectnet", split, number)
        path = f"{int(name[:8], 16) % FOLDERS + 1}/{name}.jpg"
        files.write(folder / "Manually_Annotated_Images" / path, item.image)
        rows.append(",".join((path, *_geometry(item.landmarks), str(item.code), *item.valence_arousal)))
    files.write_lines(folder / "Manually_Annotated_file_lists" / f"{split}.csv", header + sorted(rows))


def _geometry(landmarks: Array | None) -> tuple[str, ...]:
    """The five columns of face box and landmarks; without a face, a box of size 0 and no landmarks."""
    if landmarks is None:
        return "0", "0", "0", "0", ""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    margin = BOX_MARGIN * (high - low)
    corner, size = np.rint(low - margin).astype(int), np.rint(high - low + 2 * margin).astype(int)
    return *map(str, (*corner.tolist(), *size.tolist())), ";".join(f"{value:.2f}" for value in landmarks.ravel())
