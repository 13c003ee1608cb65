"""The sample's AFLW: pictures of one or two people with head pose, box and points in an SQLite database.

Writes `aflw.sqlite` and `aflw/data/flickr/{0,2,3}/image<number>.jpg`. Kept oddities of the original: boxes that are
not square and leave the picture, points without a row where they are hidden, an angle that is a whole turn too large,
one far out of range, and a face without pose.
"""

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stages.synthetic.studio import crew, expression, files, identity, portrait
from stages.synthetic.studio.camera import Camera, Pose
from stages.synthetic.studio.canvas import Image
from stages.synthetic.studio.expression import EMOTIONS
from stages.synthetic.studio.layout import Array
from stages.synthetic.studio.portrait import Turn
from stages.synthetic.studio.seeds import generator

TABLES = {
    "Databases": "db_id TEXT, path TEXT, description TEXT",
    "AnnotationType": "annot_type_id INTEGER, description TEXT, CODE TEXT",
    "Faces": "face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT",
    "FaceImages": (
        "image_id INTEGER PRIMARY KEY, db_id TEXT, file_id TEXT, filepath TEXT, "
        "bw INTEGER, width INTEGER, height INTEGER"
    ),
    "FaceRect": "face_id INTEGER, x INTEGER, y INTEGER, w INTEGER, h INTEGER, annot_type_id INTEGER",
    "FacePose": "face_id INTEGER, roll REAL, pitch REAL, yaw REAL, annot_type_id INTEGER",
    "FeatureCoords": "face_id INTEGER, feature_id INTEGER, x REAL, y REAL, annot_type_id INTEGER",
    "FeatureCoordTypes": "feature_id INTEGER, descr TEXT, code TEXT, x REAL, y REAL, z REAL",
}
FEATURES = {  # the 19 of 21 features that the 68 landmarks hold; ears have no row
    1: ("LeftBrowLeftCorner", (17,)), 2: ("LeftBrowCenter", (19,)), 3: ("LeftBrowRightCorner", (21,)),
    4: ("RightBrowLeftCorner", (22,)), 5: ("RightBrowCenter", (24,)), 6: ("RightBrowRightCorner", (26,)),
    7: ("LeftEyeLeftCorner", (36,)), 8: ("LeftEyeCenter", (37, 38, 40, 41)), 9: ("LeftEyeRightCorner", (39,)),
    10: ("RightEyeLeftCorner", (42,)), 11: ("RightEyeCenter", (43, 44, 46, 47)), 12: ("RightEyeRightCorner", (45,)),
    14: ("NoseLeft", (31,)), 15: ("NoseCenter", (30,)), 16: ("NoseRight", (35,)),
    18: ("MouthLeftCorner", (48,)), 19: ("MouthCenter", (62, 66)), 20: ("MouthRightCorner", (54,)),
    21: ("ChinCenter", (8,)),
}  # fmt: skip
FIRST_FACE, FIRST_IMAGE = 39_341, 2
FOLDERS = (0, 2, 3)
TURN = Turn(yaw_deg=(0, 48), pitch_deg=22, roll_deg=25)
WITH_TWO = 0.15  # share of pictures
PICTURES_PER_PERSON = 3
BOX_MARGIN = (0.02, 0.18)  # of the points' extent
WHOLE_TURN, FAR_OUT, WITHOUT_POSE = 3, 5, 7  # faces, counted from 0, whose pose is odd


@dataclass(frozen=True)
class Params:
    images: int


@dataclass(frozen=True)
class Pictured:
    """One face in a picture."""

    landmarks: Array  # (68, 2) px
    pose: Pose  # as rendered
    margin: float


Shot = tuple[bytes, tuple[int, int], list[Pictured]]  # picture, its width and height, its faces from the left


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    sittings = [
        range(at, min(at + PICTURES_PER_PERSON, params.images)) for at in range(0, params.images, PICTURES_PER_PERSON)
    ]
    shots = [shot for some in crew.render_all(partial(_portray, seed=seed), sittings, "sample aflw") for shot in some]
    places = [f"{FOLDERS[at % len(FOLDERS)]}/image{FIRST_IMAGE + at:05d}.jpg" for at in range(len(shots))]
    for place, (picture, _, _) in zip(places, shots, strict=True):
        files.write(folder / "aflw/data/flickr" / place, picture)
    _write_database(folder / "aflw.sqlite", places, shots)


def owners_pose(pose: Pose) -> tuple[float, float, float]:
    """Roll, pitch and yaw, radians, in the owners' signs: negative yaw turns the face to the right edge."""
    return pose.roll, pose.pitch, -pose.yaw


def _portray(pictures: range, seed: int) -> list[Shot]:
    key = (seed, "aflw", pictures.start)
    who, other = identity.draw(generator(*key)), identity.draw(generator(*key, "other"))
    shots: list[Shot] = []
    for picture in pictures:
        rng = generator(*key, picture)
        people = [who, other] if rng.random() < WITH_TWO else [who]
        shots.append(_shoot(people, rng))
    return shots


def _shoot(people: Sequence[identity.Identity], rng: np.random.Generator) -> Shot:
    """The people side by side, each before a background of their own."""
    first = portrait.frame_up(rng)
    images: list[Image] = []
    faces: list[Pictured] = []
    for place, who in enumerate(people):
        camera = first if place == 0 else _beside(first, rng)
        au, pose = expression.draw(rng, str(rng.choice(list(EMOTIONS))), (0.1, 0.8)), TURN.draw(rng)
        frame = portrait.shoot(who, rng, au=au, pose=pose, camera=camera)
        from_left = np.array([sum(image.shape[1] for image in images), 0])
        faces.append(Pictured(frame.landmarks + from_left, pose, float(rng.uniform(*BOX_MARGIN))))
        images.append(frame.image)
    whole = np.ascontiguousarray(np.hstack(images))
    return files.jpeg(whole, int(rng.integers(75, 96))), (whole.shape[1], whole.shape[0]), faces


def _beside(camera: Camera, rng: np.random.Generator) -> Camera:
    """A camera of the same height for another face, which may touch the lower edge."""
    side = int(2.6 * camera.px_per_unit)
    lowest = camera.height_px - 0.9 * camera.px_per_unit
    return Camera(side, camera.height_px, (side / 2, float(rng.uniform(0.5, 1) * lowest)), camera.px_per_unit)


def _write_database(path: Path, places: Sequence[str], shots: Sequence[Shot]) -> None:
    connection = sqlite3.connect(path)
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    for table, row in (*_fixed_rows(), *_rows(places, shots)):
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()


def _fixed_rows() -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "Databases", ("flickr", "flickr", "pictures as found on the web")
    yield "AnnotationType", (1, "rendered", "R")
    for feature, (name, _) in FEATURES.items():
        yield "FeatureCoordTypes", (feature, name, name, 0.0, 0.0, 0.0)


def _rows(places: Sequence[str], shots: Sequence[Shot]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    number = 0
    for image, (place, (_, size, faces)) in enumerate(zip(places, shots, strict=True), start=1):
        file_id = place.split("/")[1]
        yield "FaceImages", (image, "flickr", file_id, place, 0, *size)
        for face in faces:
            face_id = FIRST_FACE + number
            yield "Faces", (face_id, file_id, "flickr")
            yield "FaceRect", (face_id, *_rect(face), 1)
            if number != WITHOUT_POSE:
                yield "FacePose", (face_id, *_written_pose(face.pose, number), 1)
            yield from _features(face_id, face.landmarks)
            number += 1


def _rect(face: Pictured) -> tuple[int, ...]:
    """x, y, w, h in whole pixels; below the points there is more room than above, and it may leave the picture."""
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    low = low - face.margin * (high - low)
    size = (high - low) * (1 + face.margin)
    return *np.rint(low).astype(int).tolist(), *np.rint(size).astype(int).tolist()


def _written_pose(pose: Pose, number: int) -> tuple[float, ...]:
    roll, pitch, yaw = owners_pose(pose)
    odd = {WHOLE_TURN: 2 * math.pi * (-1 if yaw > 0 else 1), FAR_OUT: 40.0}
    return roll, pitch, yaw + odd.get(number, 0.0)


def _features(face_id: int, landmarks: Array) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for feature, (_, members) in FEATURES.items():
        x, y = landmarks[list(members)].mean(axis=0).tolist()
        yield "FeatureCoords", (face_id, feature, round(x, 3), round(y, 3), 1)
