import io
import random
import tarfile

import numpy as np
import pytest
from media_samples import encoded, noise
from releases import affectnet, bring, put, small_affectnet

from stages.datasets.affectnet import read
from stages.releases.readers import Face, Reject
from stages.runtime.errors import UserError


def row(name: str, code: object = 1, box: str = "10,20,40,50", landmarks: str = "") -> str:
    return f"{name},{box},{landmarks},{code},-2,-2"


def items(tmp_path, training: list[str], validation: list[str], images: dict[str, bytes]) -> list[Face | Reject]:
    release = affectnet(tmp_path / "release", training, validation, images)
    return list(read(bring("affectnet", release, tmp_path / "raw")).items)


IMAGES = {f"{k}/p{k}.jpg": encoded(noise(60, 60, k)) for k in range(6)}


def test_validation_list_is_the_test_split_and_codes_are_labels(tmp_path):
    found = items(tmp_path, [row("1/p1.jpg", 7)], [row("0/p0.jpg", 0)], IMAGES)
    assert [(face.sample_id, face.owner_split, dict(face.labels)) for face in found if isinstance(face, Face)] == [
        ("0/p0.jpg", "test", {"expression": 0}),
        ("1/p1.jpg", "train", {"expression": 7}),
    ]


def test_box_sizes_become_edges(tmp_path):
    (face,) = items(tmp_path, [row("1/p1.jpg")], [], IMAGES)
    assert isinstance(face, Face)
    assert face.box_xyxy_px == (10, 20, 50, 70)


@pytest.mark.parametrize("box", [",,,", "NULL,NULL,NULL,NULL", "1,2,0,5", "nan,1,2,3"])
def test_face_without_a_valid_box_has_none(tmp_path, box):
    (face,) = items(tmp_path, [row("1/p1.jpg", box=box)], [], IMAGES)
    assert isinstance(face, Face)
    assert face.box_xyxy_px is None


def test_code_is_read_with_landmarks_in_one_cell_or_in_136(tmp_path):
    one = row("1/p1.jpg", 3, landmarks=";".join(["1.5"] * 136))
    many = row("2/p2.jpg", 4, landmarks=",".join(["1.5"] * 136))
    assert [
        face.labels["expression"] for face in items(tmp_path, [one, many], [], IMAGES) if isinstance(face, Face)
    ] == [3, 4]


def test_discarded_codes_and_invalid_rows_are_rejects(tmp_path):
    training = [
        row("1/p1.jpg", 8),
        row("2/p2.jpg", 9),
        row("3/p3.jpg", 10),
        row("4/p4.jpg", 11),
        row("4/p4.jpg", "x"),
        row("9/nowhere.jpg"),
        row("../../etc/passwd"),
        row("/etc/passwd"),
        "a,b",
    ]
    found = items(tmp_path, training, [], IMAGES)
    assert [item.kind for item in found if isinstance(item, Reject)] == [
        "labelled none",
        "labelled uncertain",
        "labelled non-face",
        "unknown expression code",
        "unknown expression code",
        "no such image",
        "unsafe name",
        "unsafe name",
        "row of another length",
    ]


def test_image_in_both_lists_is_a_test_image(tmp_path):
    images = {**IMAGES, "8/copy.jpg": IMAGES["0/p0.jpg"]}
    found = items(tmp_path, [row("8/copy.jpg")], [row("0/p0.jpg")], images)
    assert isinstance(found[0], Face)
    assert found[1] == Reject("8/copy.jpg", "same image as another", "0/p0.jpg")


def test_lists_with_a_byte_order_mark_crlf_and_bytes_that_are_not_utf8_are_read(tmp_path):
    release = affectnet(tmp_path / "release", [], [row("0/p0.jpg")], IMAGES)
    header = b"\xef\xbb\xbfsubDirectory_filePath,face_x\r\n"
    lines = [row("1/p1.jpg").encode(), b"1/caf\xe9.jpg,1,2,3,4,,1,-2,-2"]
    put(release / "Manually_Annotated_file_lists" / "training.csv", header + b"\r\n".join(lines) + b"\r\n")
    found = list(read(bring("affectnet", release, tmp_path / "raw")).items)
    assert [item.key for item in found] == ["0/p0.jpg", "1/p1.jpg", "1/caf\\udce9.jpg"]
    assert isinstance(found[2], Reject)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("has_header", [True, False])
def test_a_list_that_a_spreadsheet_has_saved_again_is_read(tmp_path, separator, encoding, has_header):
    release = affectnet(tmp_path / "release", [], [row("0/p0.jpg")], IMAGES)
    columns = ["subDirectory_filePath", *"xywh", "landmarks", "expression", "valence", "arousal"]
    cells = ["1/p1.jpg", "10", "20", "40", "50", '"1.5;2.5"', "3", "-2", "-2"]
    text = "".join(f"{separator.join(line)}\r\n" for line in ([columns] if has_header else []) + [cells])
    put(release / "Manually_Annotated_file_lists" / "training.csv", text.encode(encoding))
    found = list(read(bring("affectnet", release, tmp_path / "raw")).items)
    assert [(item.key, dict(item.labels)) for item in found if isinstance(item, Face)] == [
        ("0/p0.jpg", {"expression": 1}),
        ("1/p1.jpg", {"expression": 3}),
    ]
    assert found[1].box_xyxy_px == (10, 20, 50, 70)


def test_images_in_a_deeper_folder_are_read(tmp_path):
    release = affectnet(tmp_path / "release" / "Manually_Annotated", [row("1/p1.jpg")], [], IMAGES)
    (face,) = read(bring("affectnet", release.parent, tmp_path / "raw")).items
    assert isinstance(face, Face)
    assert face.image == "Manually_Annotated/Manually_Annotated_Images/1/p1.jpg"


def test_missing_list_raises_an_error(tmp_path):
    put(tmp_path / "release" / "Manually_Annotated_Images" / "1" / "p.jpg", b"x")
    with pytest.raises(UserError, match=r"validation\.csv"):
        read(bring("affectnet", tmp_path / "release", tmp_path / "raw"))


def small(tmp_path, release) -> list[Face | Reject]:
    return list(read(bring("affectnet", release, tmp_path / "raw")).items)


def test_small_release_is_read_from_its_annotation_files(tmp_path):
    release = small_affectnet(tmp_path / "release", val_set={3: 7}, train_set={0: 0, 10: 1, 2: 6})
    found = small(tmp_path, release)
    assert all(isinstance(face, Face) and face.box_xyxy_px is None for face in found)
    assert [
        (face.key, face.image, face.owner_split, dict(face.labels)) for face in found if isinstance(face, Face)
    ] == [
        ("val_set/images/3.jpg", "val_set/images/3.jpg", "test", {"expression": 7}),
        ("train_set/images/0.jpg", "train_set/images/0.jpg", "train", {"expression": 0}),
        ("train_set/images/10.jpg", "train_set/images/10.jpg", "train", {"expression": 1}),
        ("train_set/images/2.jpg", "train_set/images/2.jpg", "train", {"expression": 6}),
    ]


def test_small_release_is_unpacked_by_fetch(tmp_path):
    packed = small_affectnet(tmp_path / "made", val_set={3: 7}, train_set={0: 0})
    (tmp_path / "release").mkdir()
    for name in ("train_set", "val_set"):
        with tarfile.open(tmp_path / "release" / f"{name}.tar", "w") as archive:
            archive.add(packed / name, name)
    assert [item.key for item in small(tmp_path, tmp_path / "release")] == [
        "val_set/images/3.jpg",
        "train_set/images/0.jpg",
    ]


def test_missing_and_invalid_files_of_the_small_release_are_rejects(tmp_path):
    release = small_affectnet(tmp_path / "release", val_set={1: 1}, train_set={1: 8, 2: 11, 3: "nan", 4: 1, 5: 1, 6: 1})
    (release / "train_set" / "annotations" / "4_exp.npy").unlink()
    (release / "train_set" / "images" / "5.jpg").unlink()
    put(release / "train_set" / "images" / "7.jpg", (release / "val_set" / "images" / "1.jpg").read_bytes())
    np.save(release / "train_set" / "annotations" / "7_exp.npy", np.array("2"))
    found = small(tmp_path, release)
    assert [item.key for item in found if isinstance(item, Face)] == ["val_set/images/1.jpg", "train_set/images/6.jpg"]
    assert [(item.key, item.kind) for item in found if isinstance(item, Reject)] == [
        ("train_set/images/1.jpg", "labelled none"),
        ("train_set/images/2.jpg", "unknown expression code"),
        ("train_set/images/3.jpg", "unknown expression code"),
        ("train_set/images/4.jpg", "no annotation"),
        ("train_set/images/7.jpg", "same image as another"),
        ("train_set/annotations/5_exp.npy", "no such image"),
    ]


def npy(value: object, **how: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value), **how)
    return file.getvalue()


class Hostile:
    """Ends the process if it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


BAD_NPY = {
    "empty": b"",
    "another format": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "an archive": b"PK\x03\x04" + bytes(200),
    "cut in half": npy("1")[:64],
    "without its value": npy("1")[:-4],
    "two values": npy(["1", "2"]),
    "no value": npy([]),
    "a pickled object": npy(Hostile(), allow_pickle=True),
    "more than is there": npy("1").replace(b"(), }      ", b"(1,9**9), }"),
    "a value of 4 GB": npy("1").replace(b"'<U1'", b"'<U1000000000'").replace(b" " * 9 + b"\n", b"\n"),
    "an invalid letter": npy("1")[:-4] + b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("what", BAD_NPY)
def test_unreadable_annotation_file_is_a_reject(what, tmp_path):
    release = small_affectnet(tmp_path / "release", val_set={1: 1}, train_set={1: 1})
    put(release / "train_set" / "annotations" / "1_exp.npy", BAD_NPY[what])
    assert small(tmp_path, release)[1] == Reject(
        "train_set/images/1.jpg", "damaged annotation", "1_exp.npy should be a .npy file with one value"
    )


def test_random_bytes_in_annotation_files_never_stop_a_run(tmp_path):
    release = small_affectnet(tmp_path / "release", val_set={1: 1}, train_set=dict.fromkeys(range(150), 1))
    rng = random.Random(5)
    for number in range(150):
        path = release / "train_set" / "annotations" / f"{number}_exp.npy"
        data = bytearray(path.read_bytes())
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
    assert len(small(tmp_path, release)) == 151


def test_half_of_the_small_release_raises_an_error(tmp_path):
    release = small_affectnet(tmp_path / "release", train_set={1: 1})
    with pytest.raises(UserError, match="found no val_set/images/"):
        small(tmp_path, release)


def test_full_release_is_read_if_both_are_present(tmp_path):
    release = small_affectnet(tmp_path / "release", val_set={1: 1}, train_set={1: 1})
    affectnet(release, [row("1/p1.jpg")], [], IMAGES)
    assert [item.key for item in small(tmp_path, release)] == ["1/p1.jpg"]


def test_annotation_file_far_larger_than_a_code_is_a_reject(tmp_path):
    raw = bring("affectnet", small_affectnet(tmp_path / "r", train_set={1: 1}, val_set={2: 2}), tmp_path / "raw")
    path = raw / "train_set" / "annotations" / "1_exp.npy"
    path.unlink()
    path.write_bytes(npy("1").replace(b"'<U1'", b"'<U225000000'").replace(b" " * 8 + b"\n", b"\n"))
    with path.open("ab") as file:
        file.truncate(900_000_000)
    rejects = [item.reason for item in read(raw).items if isinstance(item, Reject)]
    assert rejects == ["damaged annotation: 1_exp.npy has 900000000 bytes, expected at most 4096"]


@pytest.mark.parametrize("header", ["-" * 3000 + "1", "(" * 3000, "[" * 3000, "{'descr': " * 300])
def test_annotation_file_with_a_header_of_brackets_is_a_reject(header, tmp_path):
    raw = bring("affectnet", small_affectnet(tmp_path / "r", train_set={1: 1}, val_set={2: 2}), tmp_path / "raw")
    path = raw / "train_set" / "annotations" / "1_exp.npy"
    path.unlink()
    text = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    assert [item.kind for item in read(raw).items if isinstance(item, Reject)] == ["damaged annotation"]


def test_a_list_with_backslashes_names_the_same_images(tmp_path):
    found = items(tmp_path, [row("0\\p0.jpg")], [], IMAGES)
    assert [item.key for item in found if isinstance(item, Face)] == ["0/p0.jpg"]


def test_a_list_of_the_owner_that_is_cut_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.datasets.affectnet.PUBLISHED", {"test": 1, "train": 3})
    found = items(tmp_path, [row("0/p0.jpg")], [row("1/p1.jpg")], IMAGES)
    assert [(item.key, item.kind) for item in found if isinstance(item, Reject)] == [("1 of 3", "incomplete: train")]
