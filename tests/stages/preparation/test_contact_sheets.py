import math
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from media_samples import encoded, noise
from releases import put

from stages.preparation import contact_sheets
from stages.preparation.contact_sheets import EMPTY, MARK, TILE_PX, label_words
from stages.releases.readers import Reject
from stages.runtime import tables
from stages.storage.shards import ShardWriter

SCHEMA = tables.faces_schema({"landmarks": pa.list_(pa.float32(), 4)}, tables.DETECTION)


def packed(folder: Path, count: int) -> pa.Table:
    """Crops 256 px wide with one point in the middle of the image's left half."""
    rows = []
    with ShardWriter(folder / "00000.tar") as writer:
        for number in range(count):
            data = encoded(noise(256, 256, number))
            place = {"shard": "00000.tar", "offset": writer.add(f"{number}.jpg", data), "size": len(data)}
            rows.append({
                "sample_id": f"folder/image-{number:03d}", "group_id": "", "owner_split": "train", "subset": "",
                "crop_xyxy_px": [0, 0, 9, 9], "landmarks": [64.0, 128.0, 64.0, 128.0], "detector_score": 1.5,
                "upsample": 0, "sha256": "", "width_px": 256, "height_px": 256, **place,
            })  # fmt: skip
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


UNITS = ("au1", "au4", "au12")


@pytest.mark.parametrize(
    ("label", "value", "names", "expected"),
    [
        ("expression", 1, ("neutral", "happy"), ["happy"]),
        ("expression", 7, ("neutral", "happy"), ["7"]),
        ("expression", None, ("neutral", "happy"), []),
        ("action_units", [1, 0, 1], UNITS, ["au1", "au12"]),
        ("action_units", [0, None, 0], UNITS, ["none"]),
        ("action_units", [None, None, None], UNITS, []),
        ("pose_rad", [math.pi / 2, 0.0, -0.1234], ("roll", "pitch", "yaw"), ["roll 90.0°", "pitch 0.0°", "yaw -7.1°"]),
        ("age", [33.0], ("years",), ["years 33.0"]),
    ],
)
def test_labels_are_written_as_class_names_present_units_and_angles_in_degrees(label, value, names, expected):
    assert label_words(label, value, names) == expected


def test_words_of_a_label_stay_whole_and_further_ones_are_left_out():
    lines = contact_sheets._lines(["roll -12.3°", "pitch -4.5°", "yaw 101.2°"])
    assert [line.replace(contact_sheets.NO_BREAK, " ") for line in lines] == [
        "roll -12.3°",
        "pitch -4.5°",
        "yaw 101.2°",
    ]
    assert contact_sheets._lines(["au1", "au12", "au25"]) == ["au1  au12  au25"]
    assert contact_sheets._lines([f"au{n}" for n in range(10, 30)])[-1].endswith("...")
    assert len(contact_sheets._lines([f"au{n}" for n in range(10, 30)])) == contact_sheets.LABEL_LINES


def test_the_accepted_sheet_is_taller_by_the_lines_of_its_labels(tmp_path):
    index = packed(tmp_path / "packed", 3)
    index = index.append_column("pose_rad", pa.array([[0.1, 0.2, 0.3]] * 3, pa.list_(pa.float32(), 3)))
    folders = {"raw": tmp_path / "raw", "out": tmp_path / "out"}
    heights: list[int] = []
    for names in ({}, {"pose_rad": ("roll", "pitch", "yaw")}):
        contact_sheets.write(tmp_path / "packed", index, [], dataset="x", **folders, names=names)
        sheet = cv2.imread(str(tmp_path / "out" / "accepted.png"))
        heights.append(sheet.shape[0])
    assert heights[1] == heights[0] + 3 * contact_sheets.LINE_PX
