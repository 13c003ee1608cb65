"""A synthetic MAFL release: aligned faces of 178x218 px with five points, and the lists of CelebA and MAFL.

Writes `img_align_celeba/<number>.jpg`, `list_landmarks_align_celeba.txt` and `list_eval_partition.txt` as in
CelebA, and MAFL's `training.txt` and `testing.txt`, without a newline at the end. CelebA's validation and test splits
contain some further images, which are not part of MAFL.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from stages.synthetic.renderer import expression, files, identity, parallel, photo
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.expression import EMOTIONS
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array
from stages.synthetic.renderer.photo import PoseRange
from stages.synthetic.renderer.seeds import generator

COLUMNS = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
OTHERS = 6  # images of CelebA that are not in MAFL
PARTITION = {"training": 0, "testing": 0, "others": 1}
SIZE_PX = (178, 218)
EYES_XY = (0.5, 0.515)  # point between the eyes, as shares of the image
EYE_DISTANCE_PX = 38.0
EYE_DISTANCE, EYES_Y = 0.75, -0.33  # of a neutral head after projection, in units; perspective enlarges both
SHIFT_PX, ZOOM = 2.5, 0.05  # errors of the alignment: standard deviation, largest relative error
POSES = PoseRange(yaw_deg=(0, 34), pitch_deg=12, roll_deg=3)
IMAGES_PER_PERSON = 3


@dataclass(frozen=True)
class Params:
    training: int  # images
    testing: int


@dataclass(frozen=True)
class Session:
    """Images of one person; no person is in two of CelebA's or MAFL's splits."""

    split: str
    number: int  # of the person within the split
    count: int  # of images


Photo = tuple[str, bytes, Array]  # split, JPEG, five points (5, 2) px


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    sessions = _sessions({"training": params.training, "testing": params.testing, "others": OTHERS})
    rendered = parallel.render_all(partial(_render_session, seed=seed), sessions, "synthetic mafl")
    photos = list(chain.from_iterable(rendered))
    order = generator(seed, "mafl", "order").permutation(len(photos)).tolist()
    by_name = {f"{number:06d}.jpg": photos[index] for number, index in enumerate(order, start=1)}
    for name, (_, image, _) in by_name.items():
        files.write(folder / "img_align_celeba" / name, image)
    lines = [_line(name, points) for name, (_, _, points) in by_name.items()]
    files.write_lines(folder / "list_landmarks_align_celeba.txt", [str(len(lines)), f"{COLUMNS} ", *lines])
    partition = [f"{name} {PARTITION[split]}" for name, (split, _, _) in by_name.items()]
    files.write_lines(folder / "list_eval_partition.txt", partition)
    for split in ("training", "testing"):
        names = [name for name, (of_split, _, _) in by_name.items() if of_split == split]
        files.write(folder / f"{split}.txt", "\n".join(names).encode())


def five_points(landmarks: Array) -> Array:
    """CelebA's points (5, 2) from 68 landmarks (68, 2): eyes, nose, mouth corners; the image's left one first."""
    eyes = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)]
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def _sessions(counts: dict[str, int]) -> list[Session]:
    return [
        Session(split, number, min(IMAGES_PER_PERSON, count - start))
        for split, count in counts.items()
        for number, start in enumerate(range(0, count, IMAGES_PER_PERSON))
    ]


def _render_session(session: Session, seed: int) -> list[Photo]:
    key = (seed, "mafl", session.split, session.number)
    person = identity.draw(generator(*key))
    return [_render_photo(person, session.split, generator(*key, number)) for number in range(session.count)]


def _render_photo(person: Identity, split: str, rng: np.random.Generator) -> Photo:
    au = expression.draw(rng, str(rng.choice(list(EMOTIONS))), (0.2, 1.0))
    frame = photo.of_action_units(person, rng, au=au, pose=POSES.draw(rng), camera=_aligned(rng))
    return split, files.jpeg(frame.image), five_points(frame.landmarks)


def _aligned(rng: np.random.Generator) -> Camera:
    """A camera that shows the eyes where CelebA's alignment puts them, with its errors."""
    px_per_unit = EYE_DISTANCE_PX / EYE_DISTANCE * float(rng.uniform(1 - ZOOM, 1 + ZOOM))
    x, y = np.array(SIZE_PX) * EYES_XY + rng.normal(0, SHIFT_PX, 2)
    return Camera(*SIZE_PX, (float(x), float(y - EYES_Y * px_per_unit)), px_per_unit)


def _line(name: str, points: Array) -> str:
    return f"{name} " + " ".join(f"{value:4d}" for value in np.rint(points).astype(int).ravel().tolist())
