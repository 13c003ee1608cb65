"""Still images with one face each, cut to that face and packed; the two ways to find the box differ in one function."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fabnet.boxes import Box, PixelBox, area, clamp, follow, whole
from fabnet.images import cut, resize
from stages import journals, media, packing, plugins, tables
from stages.config import DetectParams, IndexParams
from stages.errors import Rejected
from stages.packing import Picture
from stages.readers import Face, manifest_bytes

BoxOf = Callable[[Face, media.Image], Box]  # Rejected: no face

_LARGEST = 4  # a box of more than this many times the picture's longer side is a mistake


def pack_faces(
    *,
    stage: str,
    dataset: str,
    raw: Path,
    out: Path,
    journal: Path,
    params: DetectParams | IndexParams,
    box_of: BoxOf,
) -> None:
    """Cut every face of the release in `raw` at the box that `box_of` gives, and pack them into `out`.

    Raises:
        UserError: the release is incomplete, or nothing in it can be used.
    """
    module: ModuleType = plugins.load("stages.datasets", dataset)
    job = packing.Job(
        stage=stage,
        dataset=dataset,
        schema=tables.faces_schema(module.LABELS),
        items="images",
        items_per_unit=params.images_per_unit,
        shard_mb=params.shard_mb,
        raw=raw,
        journal=journals.folder(journal, stage, dataset, params.model_dump_json(), manifest_bytes(raw)),
        out=out,
    )
    work = partial(cut_face, raw=raw, box_of=box_of, crop_px=params.crop_px, jpeg_quality=params.jpeg_quality)
    packing.pack(job, module.read(raw), lambda face: face, work)


def cut_face(face: Face, *, raw: Path, box_of: BoxOf, crop_px: int, jpeg_quality: int) -> Iterator[Picture]:
    """The face, cut at whole pixels, black beyond the picture, scaled to a square; points follow.

    Raises:
        Rejected: the picture cannot be read, has no face, or a box that does not fit it.
    """
    image = media.decode_image(media.read_file(raw / face.image))
    box = whole(box_of(face, image))
    _check_box(box, image)
    row: dict[str, Any] = {
        "sample_id": face.sample_id,
        "part": face.part,
        "subset": face.subset,
        "crop_xyxy_px": box,
        **face.labels,
    }
    if face.points_px is not None:
        row["landmarks"] = follow(face.points_px, box, crop_px).astype(np.float32).ravel()
    yield packing.picture(row, resize(cut(image, box), crop_px, crop_px), jpeg_quality)


def _check_box(box: PixelBox, image: media.Image) -> None:
    height, width = image.shape[:2]
    if area(clamp(box, width, height)) == 0:
        raise Rejected("face box misses the picture")
    if max(box[2] - box[0], box[3] - box[1]) > _LARGEST * max(width, height):
        raise Rejected("face box far larger than the picture")
