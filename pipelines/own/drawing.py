"""Boxes, points, pose axes and the likeliest expression, drawn onto frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fabnet.pose import Pose
from pipelines.own.attributes import Values
from pipelines.own.detection import Face
from stages.storage.media import Image

if TYPE_CHECKING:
    from fabnet.inference.network import Network

BOX, POINT, TEXT = (230, 230, 230), (120, 255, 120), (255, 255, 255)  # RGB
AXES = ((255, 60, 60), (60, 220, 60), (60, 120, 255))  # to the image's right, up, and where the nose points
TRACKS = (
    (255, 210, 60), (90, 200, 255), (255, 120, 190), (150, 235, 110), (255, 150, 70), (190, 150, 255), (80, 230, 210),
    (230, 90, 90),
)  # fmt: skip  # of boxes; the ninth track has the first colour again
SUB_PX = 4  # fractional bits of coordinates that OpenCV draws at


def draw(
    image: Image, faces: Sequence[Face], values: Values, net: "Network", tracks: Sequence[int] | None = None
) -> Image:
    """The frame with the attributes of its faces drawn on it; `values` are those of `attributes.measured`.

    With the `tracks` of the faces, each has its number and its colour.
    """
    if not faces:
        return image
    drawn = image.copy()
    kinds = {
        probe: [head.description.name for head in net.heads if head.description.probe == probe]
        for probe in ("points", "pose", "classes")
    }
    densest = max(kinds["points"], key=lambda name: values[name].shape[1], default=None)
    for number, face in enumerate(faces):
        captions = [] if tracks is None else [f"#{tracks[number]}"]
        _rectangle(drawn, face, BOX if tracks is None else TRACKS[tracks[number] % len(TRACKS)])
        if densest is not None:
            _points(drawn, values[densest][number], face)
        for name in kinds["pose"][:1]:
            _axes(drawn, values[name][number], face)
        for name in kinds["classes"][:1]:
            best = int(values[name][number].argmax())
            captions.append(f"{net.columns[name][best]} {values[name][number][best]:.2f}")
        if captions:
            _caption(drawn, " ".join(captions), face)
    return drawn


def _rectangle(image: Image, face: Face, colour: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = (round(edge) for edge in face.box)
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, _thick(face), cv2.LINE_AA)


def _points(image: Image, points: np.ndarray, face: Face) -> None:
    for x, y in points.clip(-1e4, 1e4):
        cv2.circle(image, (round(x * 2**SUB_PX), round(y * 2**SUB_PX)), _thick(face) * 2**SUB_PX, POINT, -1,
                   cv2.LINE_AA, SUB_PX)  # fmt: skip


def _axes(image: Image, angles_deg: np.ndarray, face: Face) -> None:
    """Three arrows from the middle of the box, half as long as the box is wide where they lie in the image plane.

    `angles_deg` are roll, pitch, yaw as in AFLW, where positive yaw turns the face to the left edge.
    """
    roll, pitch, yaw = map(float, angles_deg)
    x0, y0, x1, y1 = face.box
    axes = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1]]) @ Pose.degrees(-yaw, pitch, roll).rotation.T
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    for axis, colour in zip(axes, AXES, strict=True):
        tip = middle + axis[:2] * (x1 - x0) / 2
        cv2.arrowedLine(image, _rounded(middle), _rounded(tip), colour, 2 * _thick(face), cv2.LINE_AA, 0, 0.15)


def _caption(image: Image, text: str, face: Face) -> None:
    size = max(0.4, (face.box[2] - face.box[0]) / 300)
    left, bottom = (max(0, round(face.box[0])), max(round(24 * size), round(face.box[1] - 8 * size)))
    for shift, colour in ((1, (0, 0, 0)), (0, TEXT)):
        at = (left + shift, bottom + shift)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, max(1, round(size)), cv2.LINE_AA)


def _rounded(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _thick(face: Face) -> int:
    return max(1, round((face.box[2] - face.box[0]) / 150))
