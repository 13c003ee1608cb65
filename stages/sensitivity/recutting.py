"""Faces of a release cut out again, at boxes that differ from those of the index."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabnet.boxes import PixelBox, moved, whole
from fabnet.images import face_crop
from stages.releases.readers import Reject
from stages.runtime import plugins, tables
from stages.runtime.params import PerturbParams
from stages.storage import media

AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1))  # x to the right, y downwards


@dataclass(frozen=True)
class Change:
    """What is done to a box."""

    scale: float  # of its sides, around its centre
    shift: float  # how far it moves, as a share of its sides
    direction: tuple[int, int]  # in which it moves, x and y

    def of(self, box: Sequence[float]) -> PixelBox:
        """The changed box, at whole pixels; it may leave the image."""
        x0, y0, x1, y1 = box
        along_x, along_y = self.direction
        return whole(moved((x0, y0, x1, y1), self.scale, (self.shift * along_x, self.shift * along_y)))


UNCHANGED = Change(1.0, 0.0, (0, 0))


def changes(params: PerturbParams) -> list[Change]:
    """Every scale where the box lies, then every shift of the box as large as it is, in four directions each."""
    scaled = [Change(scale, 0.0, (0, 0)) for scale in params.scales]
    return scaled + [Change(1.0, shift, direction) for shift in params.shifts for direction in AROUND]


def image_paths(raw: Path, dataset: str, wanted: Collection[str]) -> dict[str, str]:
    """`sample_id` -> path of its image within the release, for the wanted ones that the release holds.

    Of a name that is repeated it is the first image, as when the faces were packed.

    Raises:
        UserError: the release is incomplete.
    """
    found: dict[str, str] = {}
    for item in plugins.load("stages.datasets", dataset).read(raw).items:
        if not isinstance(item, Reject) and item.sample_id in wanted:
            found.setdefault(item.sample_id, item.image)
        if len(found) == len(wanted):
            break
    return found


def recut(
    path: Path, row: Mapping[str, Any], wanted: Sequence[Change], *, size_px: int, quality: int
) -> list[media.Image]:
    """The crop of one face for each change, as it would be read after packing; the image is decoded once.

    Args:
        path: of the source image.
        row: of the index.
        wanted: the changes of its box.
        size_px: side of the encoder's input; crops have it if faces were stored at it too.
        quality: of the JPEG as which crops are stored.

    Raises:
        Rejected: the image cannot be read.
    """
    image = media.decode_image(media.read_file(path))
    side_px = size_px if set(tables.further(size_px).names) <= set(row) else row["width_px"]
    crops = (face_crop(image, change.of(row["crop_xyxy_px"]), side_px) for change in wanted)
    return [media.decode_stored(media.encode_jpeg(crop, quality)) for crop in crops]
