"""The sample's MAFL: aligned faces of 178x218 px with five points, and the lists of CelebA and MAFL.

Writes `img_align_celeba/<number>.jpg`, `list_landmarks_align_celeba.txt` and `list_eval_partition.txt` as CelebA has
them, and MAFL's `training.txt` and `testing.txt`, whose last lines do not end. CelebA's validation and test splits
hold some further pictures, which MAFL leaves aside.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stages.synthetic.studio import crew, expression, files, identity, portrait
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.expression import EMOTIONS
from stages.synthetic.studio.layout import Array
from stages.synthetic.studio.portrait import Turn
from stages.synthetic.studio.seeds import generator

COLUMNS = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
OTHERS = 6  # pictures of CelebA's validation and test splits
PARTITION = {"training": 0, "testing": 0, "others": 1}
SIZE_PX = (178, 218)
EYES_XY = (0.5, 0.515)  # middle of the eyes, as shares of the picture
EYE_DISTANCE_PX = 38.0
EYE_DISTANCE, EYES_Y = 0.75, -0.33  # as a neutral head appears, in units: its eyes are nearer than its centre
WANDER_PX, ZOOM = 2.5, 0.05  # what alignment leaves over
TURN = Turn(yaw_deg=(0, 34), pitch_deg=12, roll_deg=3)
PICTURES_PER_PERSON = 3


@dataclass(frozen=True)
class Params:
    training: int  # pictures
    testing: int


@dataclass(frozen=True)
class Sitting:
    """Pictures of one person; nobody is in two of CelebA's or MAFL's splits."""

    split: str
    person: int
    count: int


Shot = tuple[str, bytes, Array]  # split, picture, five points (5, 2)


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    sittings = _sittings({"training": params.training, "testing": params.testing, "others": OTHERS})
    shots = [shot for some in crew.render_all(partial(_portray, seed=seed), sittings, "sample mafl") for shot in some]
    names = [f"{number:06d}.jpg" for number in range(1, len(shots) + 1)]
    order = generator(seed, "mafl", "order").permutation(len(shots)).tolist()
    mixed = [shots[at] for at in order]
    for name, (_, picture, _) in zip(names, mixed, strict=True):
        files.write(folder / "img_align_celeba" / name, picture)
    points = [_line(name, shot[2]) for name, shot in zip(names, mixed, strict=True)]
    files.write_lines(folder / "list_landmarks_align_celeba.txt", [str(len(points)), f"{COLUMNS} ", *points])
    partition = [f"{name} {PARTITION[shot[0]]}" for name, shot in zip(names, mixed, strict=True)]
    files.write_lines(folder / "list_eval_partition.txt", partition)
    for split in ("training", "testing"):
        of_split = [name for name, shot in zip(names, mixed, strict=True) if shot[0] == split]
        files.write(folder / f"{split}.txt", "\n".join(of_split).encode())


def five_points(landmarks: Array) -> Array:
    """CelebA's points (5, 2) of the 68 (68, 2): eye left in the picture, right eye, nose, mouth left and right."""
    eyes = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)]
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def _sittings(counts: dict[str, int]) -> list[Sitting]:
    return [
        Sitting(split, person, min(PICTURES_PER_PERSON, count - at))
        for split, count in counts.items()
        for person, at in enumerate(range(0, count, PICTURES_PER_PERSON))
    ]


def _portray(sitting: Sitting, seed: int) -> list[Shot]:
    key = (seed, "mafl", sitting.split, sitting.person)
    who = identity.draw(generator(*key))
    return [_shoot(who, sitting.split, generator(*key, number)) for number in range(sitting.count)]


def _shoot(who: identity.Identity, split: str, rng: np.random.Generator) -> Shot:
    au = expression.draw(rng, str(rng.choice(list(EMOTIONS))), (0.2, 1.0))
    frame = portrait.shoot(who, rng, au=au, pose=TURN.draw(rng), camera=_aligned(rng))
    return split, files.jpeg(frame.image), five_points(frame.landmarks)


def _aligned(rng: np.random.Generator) -> Camera:
    """A camera that brings the eyes to where CelebA's alignment puts them, as far as it does."""
    px_per_unit = EYE_DISTANCE_PX / EYE_DISTANCE * float(rng.uniform(1 - ZOOM, 1 + ZOOM))
    x, y = np.array(SIZE_PX) * EYES_XY + rng.normal(0, WANDER_PX, 2)
    return Camera(*SIZE_PX, (float(x), float(y - EYES_Y * px_per_unit)), px_per_unit)


def _line(name: str, points: Array) -> str:
    return f"{name} " + " ".join(f"{value:4d}" for value in np.rint(points).astype(int).ravel().tolist())
