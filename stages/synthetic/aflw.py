"""A synthetic AFLW release: images of one or two people with head pose, box and points in an SQLite database.

Writes `aflw.sqlite` and `aflw/data/flickr/{0,2,3}/image<number>.jpg`. Like the original, it has boxes that
are not square and extend beyond the image, features without a row, an angle that is 360 degrees too large, one far out
of range, and a face without pose.
"""

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fabnet.pose import Pose
from stages.synthetic.renderer import expression, files, identity, parallel, photo
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.canvas import Image
from stages.synthetic.renderer.expression import EMOTIONS
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array
from stages.synthetic.renderer.photo import PoseRange
from stages.synthetic.renderer.seeds import generator

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
FEATURES = {  # 19 of the 21 features, by landmarks whose mean they are; the ears have no row
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
POSES = PoseRange(yaw_deg=(0, 48), pitch_deg=22, roll_deg=25)
WITH_TWO_FACES = 0.15  # share of images
IMAGES_PER_PERSON = 3
BOX_MARGIN = (0.02, 0.18)  # of the landmarks' extent
FULL_TURN, OUT_OF_RANGE, WITHOUT_POSE = 3, 5, 7  # numbers of the faces with a defective pose, counted from 0


@dataclass(frozen=True)
class Params:
    images: int


@dataclass(frozen=True)
class AnnotatedFace:
    """One face in an image."""

    landmarks: Array  # (68, 2) px
    pose: Pose  # as rendered
    margin: float  # of its box, of the landmarks' extent


Photo = tuple[bytes, tuple[int, int], list[AnnotatedFace]]  # JPEG, its width and height, its faces from left to right


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    count = params.images
    sessions = [range(start, min(start + IMAGES_PER_PERSON, count)) for start in range(0, count, IMAGES_PER_PERSON)]
    rendered = parallel.render_all(partial(_render_session, seed=seed), sessions, "synthetic aflw")
    photos = list(chain.from_iterable(rendered))
    images = [f"{FOLDERS[number % len(FOLDERS)]}/image{FIRST_IMAGE + number:05d}.jpg" for number in range(count)]
    for image, (data, _, _) in zip(images, photos, strict=True):
        files.write(folder / "aflw/data/flickr" / image, data)
    _write_database(folder / "aflw.sqlite", images, photos)


def owners_pose(pose: Pose) -> tuple[float, float, float]:
    """Roll, pitch and yaw in radians with the owners' signs: negative yaw turns the face to the image's right."""
    return pose.roll, pose.pitch, -pose.yaw


def _render_session(numbers: range, seed: int) -> list[Photo]:
    key = (seed, "aflw", numbers.start)
    person, other = identity.draw(generator(*key)), identity.draw(generator(*key, "other"))
    photos: list[Photo] = []
    for number in numbers:
        rng = generator(*key, number)
        people = [person, other] if rng.random() < WITH_TWO_FACES else [person]
        photos.append(_render_photo(people, rng))
    return photos


def _render_photo(people: Sequence[Identity], rng: np.random.Generator) -> Photo:
    """The people side by side, each in front of a background of their own."""
    first = photo.draw_camera(rng)
    images: list[Image] = []
    faces: list[AnnotatedFace] = []
    for number, person in enumerate(people):
        camera = first if number == 0 else _camera_beside(first, rng)
        au, pose = expression.draw(rng, str(rng.choice(list(EMOTIONS))), (0.1, 0.8)), POSES.draw(rng)
        frame = photo.of_action_units(person, rng, au=au, pose=pose, camera=camera)
        offset = np.array([sum(image.shape[1] for image in images), 0])
        faces.append(AnnotatedFace(frame.landmarks + offset, pose, float(rng.uniform(*BOX_MARGIN))))
        images.append(frame.image)
    whole = np.ascontiguousarray(np.hstack(images))
    return files.jpeg(whole, int(rng.integers(75, 96))), (whole.shape[1], whole.shape[0]), faces


def _camera_beside(camera: Camera, rng: np.random.Generator) -> Camera:
    """A camera of the same image height for a second face, which may touch the lower edge."""
    side = int(2.6 * camera.px_per_unit)
    lowest = camera.height_px - 0.9 * camera.px_per_unit
    return Camera(side, camera.height_px, (side / 2, float(rng.uniform(0.5, 1) * lowest)), camera.px_per_unit)


def _write_database(path: Path, images: Sequence[str], photos: Sequence[Photo]) -> None:
    connection = sqlite3.connect(path)
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    for table, row in (*_constant_rows(), *_rows(images, photos)):
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()


def _constant_rows() -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "Databases", ("flickr", "flickr", "pictures as found on the web")
    yield "AnnotationType", (1, "rendered", "R")
    for feature, (name, _) in FEATURES.items():
        yield "FeatureCoordTypes", (feature, name, name, 0.0, 0.0, 0.0)


def _rows(images: Sequence[str], photos: Sequence[Photo]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Table and row of every image and its faces."""
    number = 0
    for image_id, (image, (_, size, faces)) in enumerate(zip(images, photos, strict=True), start=1):
        file_id = image.split("/")[1]
        yield "FaceImages", (image_id, "flickr", file_id, image, 0, *size)
        for face in faces:
            face_id = FIRST_FACE + number
            yield "Faces", (face_id, file_id, "flickr")
            yield "FaceRect", (face_id, *_rect(face), 1)
            if number != WITHOUT_POSE:
                yield "FacePose", (face_id, *_written_pose(face.pose, number), 1)
            yield from _features(face_id, face.landmarks)
            number += 1


def _rect(face: AnnotatedFace) -> tuple[int, ...]:
    """x, y, w, h in whole pixels; the box may extend beyond the image."""
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    low = low - face.margin * (high - low)
    size = (high - low) * (1 + face.margin)
    return *np.rint(low).astype(int).tolist(), *np.rint(size).astype(int).tolist()


def _written_pose(pose: Pose, number: int) -> tuple[float, ...]:
    roll, pitch, yaw = owners_pose(pose)
    error = {FULL_TURN: 2 * math.pi * (-1 if yaw > 0 else 1), OUT_OF_RANGE: 40.0}
    return roll, pitch, yaw + error.get(number, 0.0)


def _features(face_id: int, landmarks: Array) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for feature, (_, indices) in FEATURES.items():
        x, y = landmarks[list(indices)].mean(axis=0).tolist()
        yield "FeatureCoords", (face_id, feature, round(x, 3), round(y, 3), 1)
