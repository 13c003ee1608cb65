import numpy as np
import pytest
from media_samples import encoded, noise
from releases import bring, put, zip_bytes

from stages import index
from stages.datasets.mafl import read
from stages.releases.readers import Face, Reject
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import BoxParams, IndexParams

COLUMNS = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
POINTS = "  69  109  106  113   77  142   73  152  108  154"


def release(folder, lines: list[str], training: str, testing: str, images: int = 6):
    for number in range(1, images + 1):
        put(folder / "img_align_celeba" / f"{number:06d}.jpg", encoded(noise(178, 218, number)))
    put(folder / "list_landmarks_align_celeba.txt", "\n".join([str(len(lines)), COLUMNS, *lines]) + "\n")
    put(folder / "training.txt", training)
    put(folder / "testing.txt", testing)
    return folder


def items(folder, raw) -> list[Face | Reject]:
    release = read(bring("mafl", folder, raw))
    found = list(release.items)
    assert release.total == len(found)
    return found


LINES = [f"{number:06d}.jpg{POINTS}" for number in range(1, 7)]


def test_lists_without_a_final_newline_keep_their_last_name(tmp_path):
    folder = release(tmp_path / "r", LINES, "000001.jpg\n000002.jpg", "000003.jpg\n000004.jpg")
    found = items(folder, tmp_path / "raw")
    assert [(face.sample_id, face.owner_split) for face in found if isinstance(face, Face)] == [
        ("000003.jpg", "test"), ("000004.jpg", "test"), ("000001.jpg", "train"), ("000002.jpg", "train"),
    ]  # fmt: skip


def test_points_are_separated_by_runs_of_blanks_and_the_box_is_that_of_the_demo(tmp_path):
    (face, _) = items(release(tmp_path / "r", LINES, "000002.jpg", "000001.jpg"), tmp_path / "raw")
    assert isinstance(face, Face)
    assert face.points_px is not None
    assert face.points_px.tolist() == [[69, 109], [106, 113], [77, 142], [73, 152], [108, 154]]
    assert face.box_xyxy_px == (35, 70, 143, 183)


def test_images_that_mafl_does_not_list_are_ignored(tmp_path):
    found = items(release(tmp_path / "r", LINES, "000002.jpg", "000001.jpg"), tmp_path / "raw")
    assert len(found) == 2


PARTITIONS = {
    "all in training": ("000001.jpg 0\r\n000002.jpg 0\r\n000003.jpg 1", "all images are in CelebA's training split"),
    "one in validation": ("000001.jpg 0\n000002.jpg 1\n", "1 images are not in CelebA's training split"),
    "one cut off": ("000001.jpg 0\n0000", "1 images are not in CelebA's training split"),
    "an empty file": ("", "2 images are not in CelebA's training split"),
    "another format": (b"\x89PNG\r\n\x1a\n\xff\xfe", "2 images are not in CelebA's training split"),
}


@pytest.mark.parametrize("what", PARTITIONS)
def test_lists_are_compared_with_celebas_partition_file(what, tmp_path, caplog):
    caplog.set_level("INFO")
    data, message = PARTITIONS[what]
    folder = release(tmp_path / "r", LINES, "000002.jpg", "000001.jpg")
    put(folder / "list_eval_partition.txt", data)
    assert len([item for item in items(folder, tmp_path / "raw") if isinstance(item, Face)]) == 2
    assert message in caplog.text


def test_missing_and_damaged_points_and_images_are_rejects(tmp_path):
    lines = [*LINES[:2], "000003.jpg  69  109  106", "000004.jpg" + POINTS.replace("154", "nan")]
    testing = "000003.jpg\n000004.jpg\n000005.jpg\n000099.jpg\n../x.jpg"
    found = items(release(tmp_path / "r", lines, "000001.jpg", testing), tmp_path / "raw")
    assert [item.kind for item in found if isinstance(item, Reject)] == [
        "points are damaged", "points are damaged", "no points", "no such image", "unsafe name",
    ]  # fmt: skip


def test_first_row_of_points_is_used_and_the_second_is_a_reject(tmp_path):
    again = "000001.jpg" + POINTS.replace("69", "11")
    found = items(release(tmp_path / "r", [*LINES, again], "000002.jpg", "000001.jpg"), tmp_path / "raw")
    assert [(item.key, item.kind) for item in found if isinstance(item, Reject)] == [("000001.jpg", "repeated")]
    first = next(item for item in found if isinstance(item, Face))
    assert first.points_px is not None
    assert first.points_px[0].tolist() == [69, 109]


@pytest.mark.parametrize("name", ["training.txt", "testing.txt", "list_landmarks_align_celeba.txt"])
def test_missing_or_empty_list_raises_an_error(name, tmp_path):
    folder = release(tmp_path / "r", LINES, "000001.jpg", "000002.jpg")
    put(folder / name, b"")
    with pytest.raises(UserError, match=name):
        items(folder, tmp_path / "raw")
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        items(folder, tmp_path / "raw2")


def test_crops_are_those_of_the_demo_and_an_image_of_another_size_is_a_reject(tmp_path):
    folder = release(tmp_path / "r", LINES, "000001.jpg", "000002.jpg\n000003.jpg")
    put(folder / "img_align_celeba" / "000003.jpg", encoded(noise(409, 687)))
    index.run(
        dataset="mafl",
        raw=bring("mafl", folder, tmp_path / "raw"),
        out=tmp_path / "out",
        sheets=tmp_path / "sheets",
        journal=tmp_path / "journal",
        index=IndexParams(crop_px=256, jpeg_quality=95, images_per_unit=100),
        box=BoxParams(margin_frac=0.0),
    )
    (first, _) = tables.read(tmp_path / "out" / "index.parquet").to_pylist()
    assert first["crop_xyxy_px"] == [35, 70, 143, 183]
    eye = np.array(first["landmarks"][:2])
    assert eye == pytest.approx(((69.5 - 35) * 256 / 108 - 0.5, (109.5 - 70) * 256 / 113 - 0.5), abs=1e-4)
    (reject,) = tables.read(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert reject["kind"] == "image of another size"
    assert reject["detail"].startswith("409x687 px")


STRAYS = {
    "Thumbs.db": ("Thumbs.db",),
    "a note": ("README.txt", "img_align_celeba/.DS_Store"),
    "other files": ("list.csv", "img_align_celeba/notes.csv"),
}


@pytest.mark.parametrize("slash", ["/", "\\"])
@pytest.mark.parametrize("around", ["", "img_align_celeba/"])
@pytest.mark.parametrize("strays", STRAYS)
def test_images_are_found_however_they_were_packed(strays, around, slash, tmp_path):
    folder = release(tmp_path / "r", LINES, "000001.jpg\n", "000002.jpg\n", images=0)
    images = {f"{around}img_align_celeba/{number:06d}.jpg": encoded(noise(178, 218, number)) for number in range(1, 7)}
    members = {
        name.replace("/", slash): data for name, data in {**dict.fromkeys(STRAYS[strays], b"x"), **images}.items()
    }
    put(folder / "img_align_celeba.zip", zip_bytes(members))
    assert [item.key for item in items(folder, tmp_path / "raw") if isinstance(item, Face)] == [
        "000002.jpg",
        "000001.jpg",
    ]


def test_a_list_with_backslashes_names_the_same_images(tmp_path):
    folder = release(tmp_path / "r", LINES, "000001.jpg\n", ".\\000002.jpg\n")
    assert [item.key for item in items(folder, tmp_path / "raw")] == ["000002.jpg", "000001.jpg"]


def test_a_list_of_the_owner_that_is_cut_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.datasets.mafl.PUBLISHED", {"testing.txt": 1, "training.txt": 3})
    folder = release(tmp_path / "r", LINES, "000001.jpg\n000002.jpg\n", "000003.jpg\n")
    (reject,) = (item for item in items(folder, tmp_path / "raw") if isinstance(item, Reject))
    assert (reject.key, reject.kind) == ("2 of 3", "incomplete: training.txt")
