from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from media_samples import encoded, noise
from releases import put

from stages.preparation import contact_sheets
from stages.preparation.contact_sheets import EMPTY, MARK, TILE_PX
from stages.releases.readers import Reject
from stages.runtime import tables
from stages.storage.shards import Mark, ShardWriter

SCHEMA = tables.faces_schema({"landmarks": pa.list_(pa.float32(), 4)}, tables.DETECTION)


def packed(folder: Path, count: int) -> pa.Table:
    """Crops 256 px wide with one point in the middle of the image's left half."""
    writer, rows = ShardWriter(folder, 2**20, Mark()), []
    for number in range(count):
        data = encoded(noise(256, 256, number))
        shard, offset = writer.add(f"{number}.jpg", data)
        place = {"shard": shard, "offset": offset, "size": len(data), "sha256": "", "width_px": 256, "height_px": 256}
        rows.append({
            "sample_id": f"folder/image-{number:03d}", "group_id": "", "owner_split": "train", "subset": "",
            "crop_xyxy_px": [0, 0, 9, 9], "landmarks": [64.0, 128.0, 64.0, 128.0], "detector_score": 1.5,
            "upsample": 0, **place,
        })  # fmt: skip
    writer.close()
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def written(tmp_path: Path, out: str, index: pa.Table, rejects: list[Reject]) -> dict[str, bytes]:
    folders = {"raw": tmp_path / "raw", "out": tmp_path / out}
    contact_sheets.write(tmp_path / "packed", index, rejects, dataset="x", **folders)
    return {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}


def marked(png: bytes) -> int:
    """Pixels in the colour of points and boxes."""
    return int((cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) == MARK).all(axis=-1).sum())


def test_equal_input_gives_equal_bytes_in_any_order_of_the_rejects(tmp_path):
    index = packed(tmp_path / "packed", 60)
    put(tmp_path / "raw" / "a.jpg", encoded(noise(90, 60)))
    rejects = [Reject(f"key-{k:02d}", f"kind {k % 3}", str(k), "a.jpg") for k in range(70)]
    first = written(tmp_path, "one", index, rejects)
    assert written(tmp_path, "two", index, rejects[::-1]) == first
    assert set(first) == {"accepted.png", "rejected.png"}
    assert max(map(len, first.values())) < 2**21


def test_crops_show_their_landmarks_and_rejects_their_annotated_box(tmp_path):
    put(tmp_path / "raw" / "a.jpg", encoded(noise(300, 200)))
    sheets = written(
        tmp_path, "s", packed(tmp_path / "packed", 3), [Reject("a", "no face", "", "a.jpg", (30, 40, 200, 190))]
    )
    assert 3 <= marked(sheets["accepted.png"]) <= 3 * 9
    sides = (200 - 30) * TILE_PX / 300, (190 - 40) * TILE_PX / 300
    assert abs(marked(sheets["rejected.png"]) - 2 * sum(sides)) < 12


def test_every_kind_of_reject_is_shown_and_unreadable_images_are_grey(tmp_path):
    rejects = [Reject(f"{k:03d}", "common", image="gone.jpg") for k in range(500)]
    rejects += [Reject("rare", "rare", "one of its kind", "gone.jpg"), Reject("row", "row too short")]
    keys = [reject.key for reject in contact_sheets._sampled_rejects(rejects, 40)]
    assert len(keys) == 40
    assert "rare" in keys
    assert "row" not in keys
    assert contact_sheets._counts(rejects) == ["500 x common; 1 x rare; 1 x row too short (not shown)"]
    png = written(tmp_path, "s", packed(tmp_path / "packed", 1), rejects)["rejected.png"]
    grey = (cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) == EMPTY).all(axis=-1)
    assert grey.sum() >= 40 * TILE_PX**2


def test_any_character_in_a_name_and_a_box_far_outside_are_drawn(tmp_path):
    put(tmp_path / "raw" / "a.jpg", encoded(noise(50, 3000)))
    rejects = [
        Reject("写真/$x$_^{", "no face", "$\\alpha", "a.jpg", (-1e9, -5, 1e9, 1e6)),
        Reject("b", "no", image="../a"),
    ]
    sheets = written(tmp_path, "s", packed(tmp_path / "packed", 1), rejects)
    assert marked(sheets["rejected.png"]) == TILE_PX  # the upper edge of the box, the only one inside the tile


def test_the_sheet_of_rejects_has_a_title_if_there_are_none(tmp_path):
    sheets = written(tmp_path, "s", packed(tmp_path / "packed", 1), [])
    image = cv2.imdecode(np.frombuffer(sheets["rejected.png"], np.uint8), cv2.IMREAD_COLOR)
    assert image.min() < 100
