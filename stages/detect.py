"""Still images cut to the face that dlib's HOG detector finds, as a square.

Reads: a release of still images in data/raw. Writes: shards, a FACES index with the labels, rejects. Params: detect.

Which face: the one that overlaps the annotated box most (none if no face touches it); without an annotated box the
highest score, then the largest, then the left-most, then the top-most.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from fabnet.boxes import Box, choose_face, square
from stages import command
from stages.config import DetectParams
from stages.errors import Rejected
from stages.faces import pack_faces
from stages.media import Image
from stages.readers import Face

SECTIONS = {"detect": "detect"}


def run(*, dataset: str, raw: Path, out: Path, journal: Path = Path(".journal"), detect: DetectParams) -> None:
    """Pack every face that is found in the release in `raw` into `out`.

    Raises:
        UserError: the release is incomplete, or nothing in it can be used.
    """
    box_of = partial(find_box, upsample=detect.upsample, min_score=detect.min_score)
    pack_faces(stage="detect", dataset=dataset, raw=raw, out=out, journal=journal, params=detect, box_of=box_of)


def find_box(face: Face, image: Image, *, upsample: int, min_score: float) -> Box:
    """The square around the face that is meant, px of the picture; it may leave the picture.

    Raises:
        Rejected: no face, or none where one is annotated.
    """
    boxes, scores = detect_faces(image, upsample=upsample, min_score=min_score)
    if not boxes:
        raise Rejected("no face detected")
    chosen = choose_face(boxes, scores, face.box_xyxy_px)
    if chosen is None:
        raise Rejected("no detected face touches the annotated box")
    return square(boxes[chosen])


def detect_faces(image: Image, *, upsample: int, min_score: float) -> tuple[list[Box], list[float]]:
    """Boxes as edges and scores of all faces in a BGR picture; dlib's corners are pixels that belong to the face."""
    rectangles, scores, _ = _detector().run(np.ascontiguousarray(image[..., ::-1]), upsample, min_score)
    boxes = [(float(r.left()), float(r.top()), float(r.right() + 1), float(r.bottom() + 1)) for r in rectangles]
    return boxes, list(scores)


@cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    command.main(run, SECTIONS, __doc__)
