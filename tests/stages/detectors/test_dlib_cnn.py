import os
from pathlib import Path
from types import SimpleNamespace

import dlib
import numpy as np
import pytest
from media_samples import drawn_faces

from stages.detectors import dlib_cnn
from stages.faces.detection import MAX_ENLARGED_PX

WEIGHTS = Path(os.environ.get("FABNET_DLIB_CNN", ""))  # dlib's mmod_human_face_detector.dat


def test_without_a_gpu_images_are_searched_one_by_one(tmp_path):
    assert dlib_cnn.has_gpu() or dlib_cnn.load_batched(tmp_path / "weights.dat", 0.0) is None


def test_a_batch_takes_no_more_memory_than_one_image_may(monkeypatch):
    rectangle = SimpleNamespace(left=lambda: 1, top=lambda: 2, right=lambda: 8, bottom=lambda: 9)
    calls = []

    def network(images, upsample, at_once):
        calls.append((len(images), at_once))
        return [[SimpleNamespace(rect=rectangle, confidence=0.9)], []]

    monkeypatch.setattr(dlib_cnn, "has_gpu", lambda: True)
    monkeypatch.setattr(dlib, "cnn_face_detection_model_v1", lambda _: network)
    batched = dlib_cnn.load_batched(Path("weights.dat"), 0.5)
    assert batched is not None
    assert batched([np.zeros((1000, 1000, 3), np.uint8)] * 2, 1) == [([(1, 2, 9, 10)], [0.9]), ([], [])]
    assert batched([np.zeros((4000, 4000, 3), np.uint8)] * 2, 2)[0].scores == [0.9]
    assert calls == [(2, MAX_ENLARGED_PX // 4_000_000), (2, 1)]


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="FABNET_DLIB_CNN names no weights of dlib's network")
def test_a_batch_gives_the_same_faces_as_one_image_after_the_other(monkeypatch):
    monkeypatch.setattr(dlib_cnn, "has_gpu", lambda: True)
    find, batched = dlib_cnn.load(WEIGHTS, 0.0), dlib_cnn.load_batched(WEIGHTS, 0.0)
    assert batched is not None
    images = [drawn_faces(160, 150, (80 + 5 * number, 70, 110)) for number in range(3)]
    found = batched(images, 1)
    assert found == [find(image, 1) for image in images]
    assert any(of.boxes for of in found)
