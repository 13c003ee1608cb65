"""Still images with one face each, cut to that face and packed; the two ways to find the box differ in one function."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from fabnet.boxes import PixelBox, area, clamp, follow
from fabnet.images import face_crop
from stages.preparation import packing
from stages.preparation.packing import Finish, Picture, Place
from stages.releases.readers import Face, Reject
from stages.runtime import plugins, tables
from stages.runtime.errors import Rejected
from stages.runtime.params import DetectParams, IndexParams, Section
from stages.storage import media


class NoFace(Rejected):
    """A picture that is fine but shows no face, or not the one that is annotated."""


# What is cut out for the face on an image, and more columns of the index; raises Rejected.
BoxOf = Callable[[Face, media.Image], tuple[PixelBox, Mapping[str, Any]]]

_LARGEST = 4  # a box of more than this many times the picture's longer side is a mistake


def pack_faces(
    place: Place,
    params: DetectParams | IndexParams,
    box_of: BoxOf,
    *,
    stage: str,
    more: Sequence[Section] = (),
    columns: Sequence[pa.Field] = (),
    metadata: Mapping[str, str] | None = None,
    finish: Finish | None = None,
) -> None:
    """Cut every face of a release at the box that `box_of` gives, and pack them.

    `more` are further settings that `box_of` depends on; `columns` are those that it adds to the index, `metadata`
    says where they come from.

    Raises:
        UserError: the release is incomplete, or nothing in it can be used.
    """
    module: ModuleType = plugins.load("stages.datasets", place.dataset)
    job = packing.Job(
        place,
        stage,
        schema=tables.faces_schema(module.LABELS, columns),
        items="images",
        items_per_unit=params.images_per_unit,
        shard_mb=params.shard_mb,
        settings=[each.model_dump_json() for each in (params, *more)] + [json.dumps(metadata, sort_keys=True)],
        metadata=metadata or {},
        finish=finish,
    )
    work = partial(cut_face, raw=place.raw, box_of=box_of, crop_px=params.crop_px, jpeg_quality=params.jpeg_quality)
    packing.pack(job, module.read(place.raw), lambda face: face, work)


def cut_face(face: Face, *, raw: Path, box_of: BoxOf, crop_px: int, jpeg_quality: int) -> Iterator[Picture | Reject]:
    """The face, cut at whole pixels, black beyond the picture, scaled to a square; points follow.

    A reject where the picture cannot be read, has no face, or a box that does not fit it.
    """
    try:
        yield _cut(face, media.read_file(raw / face.image), box_of, crop_px, jpeg_quality)
    except Rejected as error:
        owner_split = face.owner_split if isinstance(error, NoFace) else None
        yield Reject(face.sample_id, error.kind, error.detail, face.image, face.box_xyxy_px, owner_split)


def _cut(face: Face, data: bytes, box_of: BoxOf, crop_px: int, jpeg_quality: int) -> Picture:
    image = media.decode_image(data)
    _check_size(face, image)
    box, more = box_of(face, image)
    _check_box(box, image)
    row: dict[str, Any] = {
        "sample_id": face.sample_id,
        "group_id": face.group_id or face.sample_id,
        "owner_split": face.owner_split,
        "subset": face.subset,
        "crop_xyxy_px": box,
        **face.labels,
        **more,
    }
    if face.points_px is not None:
        row["landmarks"] = follow(face.points_px, box, crop_px).astype(np.float32).ravel()
    return packing.picture(row, face_crop(image, box, crop_px), jpeg_quality)


def _check_size(face: Face, image: media.Image) -> None:
    height, width = image.shape[:2]
    if face.size_px not in (None, (width, height)):
        raise Rejected("picture of another size", f"{width}x{height} px, its annotation is for {face.size_px}")


def _check_box(box: PixelBox, image: media.Image) -> None:
    height, width = image.shape[:2]
    if area(clamp(box, width, height)) == 0:
        raise Rejected("face box misses the picture")
    if max(box[2] - box[0], box[3] - box[1]) > _LARGEST * max(width, height):
        raise Rejected("face box far larger than the picture")
