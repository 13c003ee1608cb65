"""Crops of still images: the annotated face box with a margin, and landmarks moved with the crop.

Reads: a release of still images in data/raw. Writes: shards, a FACES index with the labels, rejects; contact sheets.

The box grows on each side by a fraction of its width and height (0.1 in the original's 300-W crop, 0 for AFLW and
MAFL) and is scaled to a square image, which changes its aspect.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fabnet.boxes import PixelBox, expand, whole
from stages.faces.cutting import pack_faces
from stages.preparation.packing import Place
from stages.releases.readers import Face
from stages.runtime import command
from stages.runtime.errors import Rejected
from stages.runtime.params import BoxParams, IndexParams
from stages.storage.media import Image

SECTIONS = {"box": "dataset.{dataset}.index"}


def run(
    dataset: str,
    *,
    raw: Path,
    out: Path,
    sheets: Path,
    journal: Path = Path(".journal"),
    index: IndexParams,
    box: BoxParams,
) -> None:
    """Pack every annotated face of the release in `raw` into `out`.

    Raises:
        UserError: the release is incomplete, or no image of it can be used.
    """
    place = Place(dataset, raw, out, sheets, journal)
    pack_faces(place, index, partial(grown_box, margin_frac=box.margin_frac), stage="index", more=[box])


def grown_box(face: Face, image: Image, *, margin_frac: float) -> tuple[PixelBox, Mapping[str, Any]]:
    """The annotated box with its margin, px of the image, which it may leave.

    Raises:
        Rejected: no box is annotated.
    """
    if face.box_xyxy_px is None:
        raise Rejected("no annotated box")
    return whole(expand(face.box_xyxy_px, margin_frac)), {}


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
