from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from media_samples import drawn_faces, noise
from toy_yunet import network

from stages.detectors import dlib_cnn, dlib_hog, yunet
from stages.faces import detection
from stages.runtime.errors import UserError
from stages.runtime.files import file_digest


def provenance(detector: str, path: Path | str = "", sha256: str = "") -> dict[str, str]:
    return detection.provenance(detector, str(path), sha256, 0.5, setting="detect.weights")


def test_dlib_finds_a_small_face_only_in_the_enlarged_image_at_the_same_position():
    search = detection.detector("dlib_hog", "", 0.0)
    image = drawn_faces(300, 200, (120, 100, 50))
    assert search(image, 0).boxes == []
    ((x0, y0, x1, y1),) = search(image, 1).boxes
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((120, 101), abs=6)
    assert search(noise(300, 200), 1) == ([], [])


def test_faces_below_the_minimal_score_are_left_out():
    image = drawn_faces(320, 300, (160, 150, 200))
    (score,) = detection.detector("dlib_hog", "", 0.0)(image, 0).scores
    assert detection.detector("dlib_hog", "", score + 0.1)(image, 0).boxes == []


def test_outermost_pixels_become_edges():
    assert detection.around(10, 20, 19, 39) == (10, 20, 20, 40)
    rectangle = SimpleNamespace(left=lambda: 1, top=lambda: 2, right=lambda: 8, bottom=lambda: 9)
    strong, weak = (SimpleNamespace(rect=rectangle, confidence=score) for score in (0.9, 0.2))
    assert dlib_cnn.found([strong, weak], 0.5) == ([(1, 2, 9, 10)], [0.9])


def test_rows_of_opencv_become_edges_in_pixels_of_the_image():
    row = np.zeros((1, 15), np.float32)
    row[0, :4], row[0, 14] = (10, 20, 30, 40), 0.75
    assert yunet.found(row, (0.5, 2.0)) == ([(5, 40, 20, 120)], [0.75])
    assert yunet.found(None, (1.0, 1.0)) == ([], [])


def test_the_provenance_names_detector_version_and_weights():
    assert provenance("dlib_hog") == {
        "detector": "dlib_hog", "detector_version": dlib_hog.version(), "weights_sha256": "",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["dlib_cnn", "yunet"])
def test_missing_undeclared_and_wrong_weight_files_are_user_errors(tmp_path, name):
    path = tmp_path / "weights.onnx"
    with pytest.raises(UserError, match="found an empty value"):
        provenance(name)
    with pytest.raises(UserError, match="found no file"):
        provenance(name, path)
    path.write_bytes(b"other")
    with pytest.raises(UserError, match="found nothing: check that it is the file you mean") as error:
        provenance(name, path)
    digest = next(word for word in str(error.value).replace(",", "").split() if len(word) == 64)
    with pytest.raises(UserError, match="found 0000"):
        provenance(name, path, "0" * 64)
    with pytest.raises(UserError, match="another or a damaged file"):
        provenance(name, path, digest)


def test_needless_weights_and_unknown_detectors_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="should be empty"):
        provenance("dlib_hog", tmp_path / "weights.dat")
    with pytest.raises(UserError, match="dlib_hog, yunet"):
        provenance("viola_jones")


def toy(tmp_path) -> Path:
    path = tmp_path / "toy.onnx"
    path.write_bytes(network())
    return path


def test_yunet_gives_the_edges_of_faces_in_the_image(tmp_path):
    path = toy(tmp_path)
    found = provenance("yunet", path, file_digest(path))
    assert (found["detector"], found["weights_sha256"]) == ("yunet", file_digest(path))
    search = detection.detector("yunet", str(path), 0.5)
    image = np.zeros((100, 150, 3), np.uint8)
    image[:, :30, 0] = 255  # red is not a face: channels keep their order
    image[40:48, 80:88, 2] = 255  # one cell of 8 px in the unpadded image
    assert search(image, 0) == ([(76, 36, 92, 52)], [1.0])
    doubled = search(image, 1).boxes  # four cells of 8 px in the doubled image, half as large in this one
    assert {x1 - x0 for x0, _, x1, _ in doubled} == {8.0}
    assert search(np.zeros((33, 47, 3), np.uint8), 0) == ([], [])


def test_yunet_shrinks_a_large_image_and_gives_boxes_in_the_original(tmp_path):
    search = yunet.load(toy(tmp_path), 0.5)
    image = np.zeros((64, 4 * yunet.MAX_SIDE_PX, 3), np.uint8)
    image[32:64, 320:352, 2] = 255
    assert search(image, 1).boxes == [(304, 16, 368, 80)]
