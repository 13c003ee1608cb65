"""Crops of still images: the square around the face that a detector finds.

Reads: a release of still images in data/raw, the detector's weight file if it needs one.
Writes: shards, a FACES index with the labels and tables.DETECTION, rejects, yield.parquet (tables.YIELDS);
    contact sheets.

Which face: the one that overlaps the annotated box most (none if no face touches it); without an annotated box the
one with the highest score, then the largest, the left-most, the top-most. An image in which a pass does not find that
face is enlarged further and searched again by the next pass.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from fabnet.boxes import Box, PixelBox, choose_face, crop_box
from stages.faces import detection
from stages.faces.cutting import NoFace, pack_faces
from stages.faces.detection import Detector
from stages.preparation.packing import Place
from stages.releases.readers import Face, Reject
from stages.runtime import command, tables
from stages.runtime.params import DetectParams
from stages.storage.media import Image


def run(
    dataset: str, *, raw: Path, out: Path, sheets: Path, journal: Path = Path(".journal"), detect: DetectParams
) -> None:
    """Pack every detected face of the release in `raw` into `out`.

    Raises:
        UserError: the release is incomplete, no image of it can be used, or the detector lacks its weight file.
    """
    pack_faces(
        Place(dataset, raw, out, sheets, journal),
        detect,
        partial(square_box, params=detect),
        stage="detect",
        columns=list(tables.DETECTION),
        metadata=detection.configured(detect),
        finish=partial(finish, passes=detect.upsample),
    )


def square_box(face: Face, image: Image, *, params: DetectParams) -> tuple[PixelBox, Mapping[str, Any]]:
    """The box to cut out, px of the image, which it may leave; and the columns tables.DETECTION.

    Raises:
        NoFace: no face, or none where one is annotated.
    """
    detector = detection.detector(params.detector, params.weights, params.min_score)
    box, score, upsample = find_face(image, face.box_xyxy_px, detector=detector, passes=params.upsample)
    return crop_box(box, params.margin_frac), {"detector_score": score, "upsample": upsample}


def find_face(
    image: Image, annotated: Box | None, *, detector: Detector, passes: Sequence[int]
) -> tuple[Box, float, int]:
    """Box, score and doublings of the face, from the first pass that finds it.

    Raises:
        NoFace: no face, or none where one is annotated.
    """
    elsewhere = False
    for upsample, (boxes, scores) in detection.search(image, detector, passes):
        index = choose_face(boxes, scores, annotated)
        if index is not None:
            return boxes[index], scores[index], upsample
        elsewhere = elsewhere or bool(boxes)
    raise NoFace("no detected face touches the annotated box" if elsewhere else "no face detected")


def finish(folder: Path, index: pa.Table, rejects: Sequence[Reject], *, passes: Sequence[int]) -> None:
    """Write how many faces each pass has found in each split."""
    detected = Counter(zip(index["owner_split"].to_pylist(), index["upsample"].to_pylist(), strict=True))
    missed = Counter(reject.owner_split for reject in rejects if reject.owner_split is not None)
    tables.write(
        folder / "yield.parquet", tables.YIELDS, yields(detected, missed, passes), key=["owner_split", "upsample"]
    )


def yields(
    found: Mapping[tuple[str, int], int], missed: Mapping[str, int], passes: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Rows of YIELDS from faces found by split and pass, and images without a face by split."""
    for split in sorted({split for split, _ in found} | set(missed)):
        remaining = missed.get(split, 0) + sum(found.get((split, upsample), 0) for upsample in passes)
        for upsample in passes:
            detected = found.get((split, upsample), 0)
            yield {"owner_split": split, "upsample": upsample, "images": remaining, "detected": detected}
            remaining -= detected


if __name__ == "__main__":
    command.main(run, __doc__)
