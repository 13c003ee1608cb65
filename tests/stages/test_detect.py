import numpy as np
import pytest
from media_samples import drawn_faces, encoded, noise
from releases import affectnet, bring

from fabnet.boxes import overlap
from stages import detect
from stages.datasets.affectnet import LABELS
from stages.faces.cutting import NoFace
from stages.faces.detection import Found
from stages.releases.readers import Face
from stages.runtime import tables
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import DetectParams
from stages.storage import media
from stages.storage.shards import Shards

PARAMS = DetectParams(
    detector="dlib_hog", weights="", weights_sha256="", upsample=[0], min_score=0.0, margin_frac=0.0,
    crop_px=256, jpeg_quality=95, images_per_unit=100,
)  # fmt: skip
LEFT, RIGHT = (140, 170, 160), (480, 190, 200)  # centre and side of two drawn heads


def find(image: np.ndarray, box=None) -> tuple[float, float, float, float]:
    return detect.square_box(Face("x", "x", "train", "", box), image, params=PARAMS)[0]


def test_the_drawn_face_is_found_as_a_square_around_it():
    x0, y0, x1, y1 = find(drawn_faces(320, 300, (160, 150, 200)))
    assert x1 - x0 == y1 - y0
    assert overlap((x0, y0, x1, y1), (85, 90, 235, 250)) > 0.6


def test_the_margin_grows_the_square_on_every_side():
    image = drawn_faces(320, 300, (160, 150, 200))
    x0, y0, x1, y1 = find(image)
    wide = detect.square_box(Face("x", "x", "train", ""), image, params=PARAMS.model_copy(update={"margin_frac": 0.2}))[
        0
    ]
    grown = round(0.2 * (x1 - x0))
    assert wide == (x0 - grown, y0 - grown, x1 + grown, y1 + grown)


def test_of_two_faces_the_annotated_one_is_taken():
    image = drawn_faces(700, 340, LEFT, RIGHT)
    left, right = find(image, (60, 90, 220, 250)), find(image, (380, 90, 580, 290))
    assert left[2] < right[0]


def test_an_image_without_a_face_or_without_the_annotated_one_is_rejected():
    with pytest.raises(Rejected, match="no face detected"):
        find(noise(300, 300))
    with pytest.raises(Rejected, match="touches the annotated box"):
        find(drawn_faces(700, 340, LEFT), (500, 100, 600, 200))


def run(raw, out) -> list[dict]:
    beside = {"sheets": out.parent / "sheets", "journal": out.parent / "journal"}
    detect.run(dataset="affectnet", raw=raw, out=out, detect=PARAMS, **beside)
    return tables.read(out / "index.parquet", tables.faces_schema(LABELS)).to_pylist()


@pytest.fixture
def raw(tmp_path):
    face = encoded(drawn_faces(320, 300, (160, 150, 200)))
    images = {
        "1/good.jpg": face,
        "2/edge.png": encoded(drawn_faces(233, 300, (160, 150, 200)), ".png"),
        "3/half.jpg": encoded(drawn_faces(330, 300, (160, 150, 200)))[:4000],
        "4/empty.jpg": encoded(noise(200, 200)),
        "5/none.jpg": encoded(noise(201, 200)),
        "6/test.jpg": encoded(drawn_faces(330, 310, (160, 150, 200))),
    }
    training = [f"{name},0,0,320,300,,{8 if 'none' in name else 3},-2,-2" for name in list(images)[:5]]
    training.append("7/nowhere.jpg,0,0,9,9,,3,-2,-2")
    release = affectnet(tmp_path / "release", training, ["6/test.jpg,0,0,320,300,,7,-2,-2"], images)
    return bring("affectnet", release, tmp_path / "raw")


def test_faces_are_packed_with_their_label_and_other_images_are_rejects(tmp_path, raw):
    rows = run(raw, tmp_path / "out")
    found = {
        row["sample_id"]: (row["owner_split"], row["expression"], row["width_px"], row["height_px"]) for row in rows
    }
    assert found["1/good.jpg"] == ("train", 3, 256, 256)
    assert found["6/test.jpg"] == ("test", 7, 256, 256)
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert {row["key"]: row["kind"] for row in rejects if row["key"] not in found} == {
        "3/half.jpg": "image is cut short",
        "4/empty.jpg": "no face detected",
        "5/none.jpg": "labelled none",
        "7/nowhere.jpg": "no such image",
    }


def test_a_box_that_leaves_the_image_is_filled_with_black(tmp_path, raw):
    (row,) = [row for row in run(raw, tmp_path / "out") if row["sample_id"] == "2/edge.png"]
    x0, _, x1, _ = row["crop_xyxy_px"]
    assert x1 > 233
    with Shards(tmp_path / "out") as shards:
        image = media.decode_image(shards.read(row["shard"], row["offset"], row["size"]))
    border = round((233 - x0) * 256 / (x1 - x0))
    assert image[:, border + 3 :].max() < 12
    assert image[:, border - 12 : border - 3].min() > 12


def test_a_second_run_gives_the_same_bytes(tmp_path, raw):
    run(raw, tmp_path / "out")
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    run(raw, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_a_release_without_its_images_is_a_user_error(tmp_path):
    release = affectnet(tmp_path / "release", ["1/a.jpg,0,0,9,9,,3,-2,-2"], [], {"2/b.jpg": encoded(noise(50, 50))})
    with pytest.raises(UserError, match="nothing in the release can be used"):
        run(bring("affectnet", release, tmp_path / "raw"), tmp_path / "out")


def with_passes(*found: list[tuple[float, ...]]):
    """A detector that finds `found[upsample]`, and the passes that it was asked for."""
    asked: list[int] = []

    def search(_: np.ndarray, upsample: int) -> Found:
        asked.append(upsample)
        return Found(list(found[upsample]), [1.0] * len(found[upsample]))

    return search, asked


def pixels(side: int) -> np.ndarray:
    return np.zeros((side, side, 3), np.uint8)


def test_a_second_pass_runs_only_if_the_first_missed_the_face():
    search, asked = with_passes([(0, 0, 9, 9)], [(0, 0, 8, 8)])
    assert detect.find_face(pixels(50), None, detector=search, passes=[0, 1]) == ((0, 0, 9, 9), 1.0, 0)
    assert asked == [0]
    search, asked = with_passes([], [(0, 0, 8, 8)])
    assert detect.find_face(pixels(50), None, detector=search, passes=[0, 1]) == ((0, 0, 8, 8), 1.0, 1)
    assert asked == [0, 1]


def test_a_face_beside_the_annotated_one_counts_as_missed():
    search, _ = with_passes([(0, 0, 9, 9)], [(0, 0, 8, 8), (20, 20, 30, 30)])
    face = detect.find_face(pixels(50), (21, 21, 29, 29), detector=search, passes=[0, 1])
    assert face == ((20, 20, 30, 30), 1.0, 1)
    search, _ = with_passes([(0, 0, 9, 9)], [])
    with pytest.raises(NoFace, match="touches the annotated box"):
        detect.find_face(pixels(50), (21, 21, 29, 29), detector=search, passes=[0, 1])


def test_ties_of_score_are_broken_by_size_then_position():
    search, _ = with_passes([(5, 0, 14, 9), (0, 5, 9, 14), (0, 0, 9, 9), (0, 0, 3, 3)])
    assert detect.find_face(pixels(50), None, detector=search, passes=[0])[0] == (0, 0, 9, 9)


def test_no_pass_enlarges_an_image_beyond_the_limit():
    search, asked = with_passes([], [(0, 0, 8, 8)])
    with pytest.raises(NoFace, match="no face detected"):
        detect.find_face(pixels(2001), None, detector=search, passes=[0, 1])
    assert asked == [0]


def test_yields_count_images_and_faces_of_each_pass():
    rows = detect.yields({("train", 0): 7, ("train", 1): 2, ("test", 1): 1}, {"train": 1, "val": 4}, [0, 1])
    assert [tuple(row.values()) for row in rows] == [
        ("test", 0, 1, 0), ("test", 1, 1, 1),
        ("train", 0, 10, 7), ("train", 1, 3, 2),
        ("val", 0, 4, 0), ("val", 1, 4, 0),
    ]  # fmt: skip


def test_the_yield_of_a_release_is_written_beside_its_index(tmp_path, raw):
    run(raw, tmp_path / "out")
    table = tables.read(tmp_path / "out" / "yield.parquet", tables.YIELDS).to_pylist()
    assert [tuple(row.values()) for row in table] == [("test", 0, 1, 1), ("train", 0, 3, 2)]


def test_the_index_names_detector_and_pass(tmp_path, raw):
    run(raw, tmp_path / "out")
    index = tables.read(tmp_path / "out" / "index.parquet")
    assert index.schema.metadata[b"detector"] == b"dlib_hog"
    assert index.schema.metadata[b"detector_version"].startswith(b"dlib ")
    assert set(index["upsample"].to_pylist()) == {0}
    assert min(index["detector_score"].to_pylist()) >= PARAMS.min_score
