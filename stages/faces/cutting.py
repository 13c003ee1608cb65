"""Crops of still images with one face each; `detect` and `index` differ in the function that gives the box."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from fabnet.boxes import PixelBox, area, clamp, follow
from fabnet.images import face_crop
from stages.faces import near_copies
from stages.preparation import encoded, packing
from stages.preparation.encoded import EncodedImage
from stages.preparation.packing import Finish, Place
from stages.releases.readers import Face, Reject
from stages.runtime import plugins, tables
from stages.runtime.errors import Rejected
from stages.runtime.params import DetectParams, IndexParams, Section
from stages.storage import media


class NoFace(Rejected):
    """An image that can be read but shows no face, or not the annotated one."""


# The box to cut out for the face of an image, and further columns of the index; raises Rejected.
BoxOf = Callable[[Face, media.Image], tuple[PixelBox, Mapping[str, Any]]]

_MAX_RATIO = 4  # of the box's longer side to the image's; a larger box is a mistake


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
    """Cut every face of a release at the box that `box_of` gives, and pack the crops.

    Args:
        place: where the release lies, and where the crops go.
        params: size and quality of the crops.
        box_of: gives the box of a face.
        stage: its name.
        more: further settings that `box_of` depends on.
        columns: those that `box_of` adds to the index.
        metadata: of the index: where these columns come from.
        finish: is called before the result moves into place.

    Raises:
        UserError: the release is incomplete, or no image of it can be used.
    """
    module: ModuleType = plugins.load("stages.datasets", place.dataset)
    job = packing.Job(
        place,
        stage,
        schema=tables.faces_schema(module.LABELS, [*columns, *chain(*map(tables.further, params.further_px))]),
        items="images",
        items_per_unit=params.images_per_unit,
        settings=[section.model_dump_json() for section in (params, *more)] + [json.dumps(metadata, sort_keys=True)],
        metadata=metadata or {},
        names=getattr(module, "NAMES", {}),
        finish=finish,
    )
    work = partial(cut_face, raw=place.raw, box_of=box_of, params=params)
    packing.pack(job, module.read, work)


def cut_face(
    face: Face, *, raw: Path, box_of: BoxOf, params: DetectParams | IndexParams
) -> Iterator[EncodedImage | Reject]:
    """The crop of the face with its row, or a reject: unreadable image, no face, or a box that does not fit.

    Landmarks are moved with the crop.
    """
    try:
        yield _cut(face, media.read_file(raw / face.image), box_of, params)
    except Rejected as error:
        owner_split = face.owner_split if isinstance(error, NoFace) else None
        yield Reject(face.sample_id, error.kind, error.detail, face.image, face.box_xyxy_px, owner_split)


def _cut(face: Face, data: bytes, box_of: BoxOf, params: DetectParams | IndexParams) -> EncodedImage:
    image = media.decode_image(data)
    _check_size(face, image)
    box, more = box_of(face, image)
    _check_box(box, image)
    crop, *further = (face_crop(image, box, side_px) for side_px in (params.crop_px, *params.further_px))
    row: dict[str, Any] = {
        "sample_id": face.sample_id,
        "group_id": face.group_id or face.sample_id,
        "owner_split": face.owner_split,
        "subset": face.subset,
        "crop_xyxy_px": box,
        "near_copy_digest": near_copies.digest(crop),
        **face.labels,
        **more,
    }
    if face.points_px is not None:
        row["landmarks"] = follow(face.points_px, box, params.crop_px).astype(np.float32).ravel()
    return encoded.encode(row, crop, params.jpeg_quality, further)


def _check_size(face: Face, image: media.Image) -> None:
    height, width = image.shape[:2]
    if face.size_px not in (None, (width, height)):
        raise Rejected("image of another size", f"{width}x{height} px, its annotation is for {face.size_px}")


def _check_box(box: PixelBox, image: media.Image) -> None:
    height, width = image.shape[:2]
    if area(clamp(box, width, height)) == 0:
        raise Rejected("face box misses the image")
    if max(box[2] - box[0], box[3] - box[1]) > _MAX_RATIO * max(width, height):
        raise Rejected("face box far larger than the image")
