import errno
import os
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hostile_server import mutated
from PIL import Image
from releases import bring, face_points, points_text, put, w300
from scipy.io import savemat

from fabnet.boxes import follow
from fabnet.images import cut
from stages.datasets import w300 as w300_reader
from stages.datasets.w300 import parse_points, read, read_boxes
from stages.index import grown_box
from stages.releases.readers import Face, Reject
from stages.runtime import bounded
from stages.runtime.errors import Rejected, UserError

FOLDERS = ["afw", "helen/trainset", "lfpw/trainset", "helen/testset", "lfpw/testset", "ibug"]


def items(release, raw) -> dict[str, Face | Reject]:
    return {item.key: item for item in read(bring("w300", release, raw)).items}


def boxes_mat(path, boxes: dict[str, list[float]]) -> None:
    cells = np.empty((1, len(boxes)), object)
    for k, (name, box) in enumerate(boxes.items()):
        cells[0, k] = {"imgName": name, "bb_ground_truth": np.array([box], float)}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"bounding_boxes": cells})


def test_folders_give_split_and_subset(tmp_path):
    found = items(w300(tmp_path / "r", {f"{name}/image_1": face_points(0) for name in FOLDERS}), tmp_path / "raw")
    assert [(face.key, face.owner_split, face.subset) for face in found.values() if isinstance(face, Face)] == [
        ("afw/image_1", "train", "afw"),
        ("helen/testset/image_1", "test", "common"),
        ("helen/trainset/image_1", "train", "helen"),
        ("ibug/image_1", "test", "challenging"),
        ("lfpw/testset/image_1", "test", "common"),
        ("lfpw/trainset/image_1", "train", "lfpw"),
    ]


def test_one_based_points_become_zero_based():
    points = face_points(0)
    assert parse_points(points_text(points).encode()) == pytest.approx(points)
    text = points_text(np.zeros((68, 2)))
    assert "1.000000 1.000000" in text
    assert not parse_points(text.encode()).any()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"version: 1",
        points_text(np.zeros((5, 2))).encode(),
        b"{\n1 nan\n}",
        b"{" + b"x " * 136 + b"}",
        b"\xff\xfe{1 2}",
    ],
)
def test_damaged_points_are_rejected(text):
    with pytest.raises(Rejected, match="points are damaged"):
        parse_points(text)


def test_half_a_pair_of_points_is_counted_as_half():
    with pytest.raises(Rejected, match=r"expected 68 pairs, found 67\.5"):
        parse_points(b"{" + b"1 " * 135 + b"}")


def test_name_with_a_blank_is_kept(tmp_path):
    found = items(w300(tmp_path / "r", {"ibug/image_092 _01": face_points(0)}), tmp_path / "raw")
    assert isinstance(found["ibug/image_092 _01"], Face)


def test_bounding_box_of_the_points_is_used_without_box_files(tmp_path, caplog):
    points = face_points(0)
    with caplog.at_level("INFO"):
        found = items(w300(tmp_path / "r", {"afw/a": points}), tmp_path / "raw")
    face = found["afw/a"]
    assert isinstance(face, Face)
    low, high = points.min(axis=0) + 1, points.max(axis=0) + 1
    assert face.box_xyxy_px == pytest.approx((*low, *high))
    assert "1 faces have no annotated box" in caplog.text


def test_annotated_box_is_used_if_there_is_one(tmp_path):
    release = w300(tmp_path / "r", {"ibug/image_1": face_points(0), "ibug/image_2": face_points(1)})
    boxes = {"image_1.jpg": [11, 21, 111, 131], "absent_9.jpg": [1, 1, 2, 2]}
    boxes_mat(release / "Bounding Boxes" / "bounding_boxes_ibug.mat", boxes)
    found = items(release, tmp_path / "raw")
    assert isinstance(found["ibug/image_1"], Face)
    assert found["ibug/image_1"].box_xyxy_px == (11, 21, 111, 131)
    assert isinstance(found["ibug/image_2"], Face)
    assert found["ibug/image_2"].box_xyxy_px is not None


def test_the_crop_of_the_authors_demo_is_the_one_that_pil_cuts(tmp_path):
    name, corners = "ibug_image_99", [312.4117, 57.3576, 416.5690, 166.9425]  # of the demo, whose image is 600x399
    release = w300(tmp_path / "r", {f"ibug/{name}": face_points(0)})
    boxes_mat(release / "Bounding Boxes" / "bounding_boxes_ibug.mat", {f"{name}.jpg": corners})
    face = items(release, tmp_path / "raw")[f"ibug/{name}"]
    assert isinstance(face, Face)
    pixels = np.random.default_rng(0).integers(0, 256, (399, 600, 3), np.uint8)
    box, _ = grown_box(face, pixels, margin_frac=0.1)
    x0, y0, x1, y1 = corners
    grow_x, grow_y = int(0.1 * (x1 - x0) + 0.5), int(0.1 * (y1 - y0) + 0.5)
    by_pil = Image.fromarray(pixels).crop((x0 - grow_x, y0 - grow_y, x1 + grow_x, y1 + grow_y))
    assert box == (302, 46, 427, 178)
    assert np.array_equal(cut(pixels, box), np.array(by_pil))


def test_points_follow_the_crop(tmp_path):
    points = np.full((68, 2), 40.0)
    points[0], points[1] = (20, 30), (59, 69)  # the box of the points has edges at 21, 31, 60 and 70, then 4 more
    found = items(w300(tmp_path / "r", {"afw/a": points}), tmp_path / "raw")["afw/a"]
    assert isinstance(found, Face)
    assert found.points_px is not None
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[30, 20], pixels[69, 59] = 255, 255  # rows, columns
    box, _ = grown_box(found, pixels, margin_frac=0.1)
    assert box == (17, 27, 64, 74)
    moved = follow(found.points_px, box, 47)
    assert moved[:2] == pytest.approx(np.array([[3, 3], [42, 42]]))
    assert {tuple(place) for place in np.argwhere(cut(pixels, box)[..., 0])} == {(3, 3), (42, 42)}


def test_damaged_box_file_raises_an_error(tmp_path):
    release = w300(tmp_path / "r", {"afw/a": face_points(0)})
    put(release / "Bounding Boxes" / "bounding_boxes_afw.mat", b"MATLAB 5.0" + bytes(300))
    with pytest.raises(UserError, match=r"bounding_boxes_afw\.mat is not a readable box file"):
        items(release, tmp_path / "raw")


def crash(path: Path) -> None:
    os._exit(9)  # SciPy ends in a segmentation fault on some damaged files


def test_box_file_that_crashes_its_reader_raises_an_error(tmp_path, monkeypatch):
    release = w300(tmp_path / "r", {"afw/a": face_points(0), "ibug/b": face_points(1)})
    boxes_mat(release / "Bounding Boxes" / "bounding_boxes_ibug.mat", {"b.jpg": [1, 1, 9, 9]})
    raw = bring("w300", release, tmp_path / "raw")
    monkeypatch.setattr(w300_reader, "read_boxes", crash)
    with pytest.raises(UserError, match=r"ibug\.mat is not a readable box file \(the library that reads it crashed"):
        read(raw)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(OSError(errno.EIO, "Input/output error"), OSError), (OSError("could not read bytes"), Rejected)],
)
def test_a_disk_that_fails_is_not_taken_for_a_damaged_box_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Exception]
):
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(w300_reader, "loadmat", fail)
    path = put(tmp_path / "bounding_boxes_afw.mat", b"boxes")
    with pytest.raises(kind) as caught:
        read_boxes(path)
    assert kind is Rejected or str(path) in str(caught.value)


def outcome(path: Path) -> type:
    """Type of what `read_boxes` returns or raises."""
    try:
        return type(read_boxes(path))
    except Rejected:
        return Rejected


def test_box_files_with_random_bytes_give_boxes_or_an_error(tmp_path):
    boxes_mat(tmp_path / "intact.mat", {f"{k}.jpg": [1, 1, 9, 9] for k in range(5)})
    intact, rng = (tmp_path / "intact.mat").read_bytes(), random.Random(3)
    paths = []
    for number in range(20):
        data = bytearray(intact)
        for _ in range(3):
            data[rng.randrange(120, len(data))] = rng.randrange(256)
        paths.append(put(tmp_path / f"{number}.mat", bytes(data)))
    outcomes = []
    while len(outcomes) < len(paths):  # a crash ends the process that reads
        try:
            for result in bounded.each(outcome, paths[len(outcomes) :]):
                outcomes.append(result)
        except Rejected:
            outcomes.append(Rejected)
    assert set(outcomes) <= {dict, Rejected}


BAD_BOXES = {
    "nan": [np.nan, 1, 9, 9],
    "infinite": [1, 1, np.inf, 9],
    "huge": [1, 1, 1e300, 9],
    "inside out": [9, 1, 1, 9],
    "without size": [5, 5, 5, 5],
}


def test_invalid_annotated_box_is_a_reject_and_others_are_read(tmp_path):
    release = w300(tmp_path / "r", {f"ibug/{name}": face_points(0) for name in (*BAD_BOXES, "good")})
    boxes = {f"{name}.jpg": box for name, box in {**BAD_BOXES, "good": [11, 21, 111, 131]}.items()}
    boxes_mat(release / "Bounding Boxes" / "bounding_boxes_ibug.mat", boxes)
    found = items(release, tmp_path / "raw")
    assert {key for key, item in found.items() if isinstance(item, Reject)} == {f"ibug/{name}" for name in BAD_BOXES}
    assert {item.kind for item in found.values() if isinstance(item, Reject)} == {"box is damaged"}


def test_second_image_of_the_same_name_is_a_reject(tmp_path):
    release = w300(tmp_path / "r", {"afw/a": face_points(0)})
    put(release / "afw" / "a.png", b"other")
    found = items(release, tmp_path / "raw")
    assert isinstance(found["afw/a"], Face)
    assert found["afw/a.png"] == Reject("afw/a.png", "same name as another image", "afw/a.jpg")


def test_images_without_points_points_without_images_and_mirrored_copies_are_rejects(tmp_path):
    release = w300(tmp_path / "r", {f"afw/{name}": face_points(0) for name in ("a", "b", "c", "c_mirror")})
    (release / "afw" / "a.pts").unlink()
    (release / "afw" / "b.jpg").unlink()
    found = items(release, tmp_path / "raw")
    reasons = {key: item.kind for key, item in found.items() if isinstance(item, Reject)}
    assert reasons == {"afw/a": "no points", "afw/b": "no such image", "afw/c_mirror": "mirrored copy"}


def test_release_without_its_folders_raises_an_error(tmp_path):
    put(tmp_path / "r" / "readme.txt", "x")
    with pytest.raises(UserError, match="helen/"):
        items(tmp_path / "r", tmp_path / "raw")


HUGE_POINTS = {"a million braces": b"{" * 1_000_000, "50 MB of numbers": b"{" + b"1 " * 25_000_000 + b"}"}


@pytest.mark.parametrize("what", HUGE_POINTS)
def test_points_far_too_large_are_a_reject_at_once(what, tmp_path):
    raw = bring("w300", w300(tmp_path / "r", {"afw/a": face_points(0), "afw/b": face_points(1)}), tmp_path / "raw")
    (raw / "afw" / "a.pts").unlink()
    put(raw / "afw" / "a.pts", HUGE_POINTS[what])
    started = time.process_time()
    found = {item.key: item for item in read(raw).items}
    assert isinstance(found["afw/b"], Face)
    assert isinstance(found["afw/a"], Reject)
    assert "expected at most 65536" in found["afw/a"].reason
    with pytest.raises(Rejected, match="points are damaged"):
        parse_points(HUGE_POINTS[what][:65_536])
    assert time.process_time() - started < 5


def bomb(path: Path) -> Path:
    """A .mat file of 2 MB that unpacks to 2 GB of zeros: the same packed zeros again and again."""
    header = b"MATLAB 5.0".ljust(124) + struct.pack("<2H", 0x0100, 0x4D49)
    size, packer = 2**31, zlib.compressobj(9)
    array = struct.pack("<10I", 14, size - 8, 6, 8, 6, 0, 5, 8, 1, 2**28 - 8)
    data = packer.compress(array + struct.pack("<HH4s2I", 1, 4, b"aaaa", 9, size - 64))
    data += packer.flush(zlib.Z_FULL_FLUSH)
    data += (packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)) * (size // 2**24)
    return put(path, header + struct.pack("<2I", 15, len(data)) + data)


def test_box_file_that_unpacks_to_gigabytes_raises_an_error(tmp_path):
    release = w300(tmp_path / "r", {"afw/a": face_points(0)})
    bomb(release / "Bounding Boxes" / "bounding_boxes_afw.mat")
    with pytest.raises(UserError, match=r"afw\.mat is not a readable box file \(takes too (much memory|long)"):
        items(release, tmp_path / "raw")


def test_mutated_points_are_points_or_rejects():
    intact, draw, rejected = points_text(face_points(0)).encode(), random.Random(5), 0
    for _ in range(1000):
        try:
            assert parse_points(mutated(intact, draw)).shape == (68, 2)
        except Rejected:
            rejected += 1
    assert 100 < rejected < 1000


ALL = [f"{name}/image_1" for name in FOLDERS]


@pytest.mark.parametrize("absent", FOLDERS)
def test_a_folder_that_is_missing_is_told(absent, tmp_path, caplog):
    faces = {name: face_points(0) for name in ALL if not name.startswith(absent)}
    found = items(w300(tmp_path / "r", faces), tmp_path / "raw")
    (reject,) = (item for item in found.values() if isinstance(item, Reject))
    assert reject.kind.startswith(f"incomplete: {absent} (")
    assert f"w300: {absent} (" in caplog.text


def test_a_sample_with_all_folders_lacks_nothing(tmp_path):
    found = items(w300(tmp_path / "r", dict.fromkeys(ALL, face_points(0))), tmp_path / "raw")
    assert all(isinstance(item, Face) for item in found.values())


def test_a_folder_of_the_owners_release_that_is_not_whole_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(w300_reader, "PUBLISHED", dict.fromkeys(FOLDERS, 1) | {"ibug": 3})
    found = items(w300(tmp_path / "r", dict.fromkeys(ALL, face_points(0))), tmp_path / "raw")
    (reject,) = (item for item in found.values() if isinstance(item, Reject))
    assert (reject.key, reject.kind) == ("1 of 3", "incomplete: ibug (test, challenging)")


def test_folders_in_capitals_are_read_with_their_boxes(tmp_path):
    release = w300(tmp_path / "r", {name.upper(): face_points(0) for name in ALL})
    boxes_mat(release / "Bounding Boxes" / "bounding_boxes_IBUG.mat", {"IMAGE_1.jpg": [11, 21, 111, 131]})
    found = items(release, tmp_path / "raw")
    assert sorted(found) == sorted(f"{name}/IMAGE_1" for name in FOLDERS)
    face = found["ibug/IMAGE_1"]
    assert isinstance(face, Face)
    assert (face.owner_split, face.subset, face.box_xyxy_px) == ("test", "challenging", (11, 21, 111, 131))
