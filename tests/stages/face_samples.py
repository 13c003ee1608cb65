"""Tiny packed face crops of one data set, as `embed` reads them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.runtime import tables
from stages.storage import media, shards

COUNT = 7


def face_image(number: int) -> np.ndarray:
    """(256, 256, 3) RGB, smooth, so that JPEG changes little; red differs from blue."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)


def write_faces(folder: Path, *, broken: tuple[int, ...] = ()) -> None:
    packed: list[dict[str, Any]] = []
    with shards.ShardWriter(folder / "00000.tar") as writer:
        for number in range(COUNT):
            data = media.encode_jpeg(face_image(number), 95)
            data = data[: len(data) // 2] if number in broken else data
            offset = writer.add(f"{number}.jpg", data)
            packed.append({
                "sample_id": f"{number}", "owner_split": "test", "subset": "", "crop_xyxy_px": [0, 0, 256, 256],
                "shard": "00000.tar", "offset": offset, "size": len(data), "sha256": "", "width_px": 256,
                "height_px": 256,
            })  # fmt: skip
    tables.write(folder / "index.parquet", tables.FACES, packed, key=["sample_id"])
