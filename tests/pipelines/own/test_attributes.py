import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from media_samples import drawn_faces
from own_samples import FACE, fabnet, image_file
from pyarrow import csv

import fabnet as library
from fabnet import boxes
from pipelines.own import detection


@pytest.fixture
def row(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE))
    assert fabnet("attributes", "face.png", "--model", model) == 0
    return pq.read_table("attributes.parquet").to_pylist()[0]


def test_every_attribute_has_named_columns(row, model):
    schema = pq.read_schema("attributes.parquet")
    assert schema.field("w300_landmarks").type == pa.list_(pa.float32(), 136)
    assert {"pose_roll", "pose_pitch", "pose_yaw", "expression_happy", "action_units_au12"} <= set(schema.names)
    assert all(0 <= row[name] <= 1 for name in schema.names if name.startswith(("expression_", "action_units_")))


def test_a_csv_has_a_named_column_for_every_number(row, model):
    assert fabnet("attributes", "face.png", "--model", model, "--out", "attributes.csv") == 0
    (found,) = csv.read_csv("attributes.csv").to_pylist()
    x, y = found["w300_landmarks_x67"], found["w300_landmarks_y67"]
    assert [x, y] == pytest.approx(row["w300_landmarks"][-2:], rel=1e-6)
    assert found["pose_yaw"] == pytest.approx(row["pose_yaw"], rel=1e-6)


def test_landmarks_are_pixels_of_the_frame(row, model):
    net = library.load(model, "cpu")
    (face,) = detection.detect(detection.InputFrame(0, "face.png", 0), detection.Search(net.crop)).faces
    points = net.attributes([face.crop])["w300_landmarks"][0]
    there = np.array(row["w300_landmarks"]).reshape(-1, 2)
    assert boxes.follow(there, face.square, 256) == pytest.approx(points, abs=1e-2)
