"""`fabnet` with the authors' weights: named on the command line, and nothing else is needed."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from media_samples import drawn_faces
from own_samples import FACE, fabnet, image_file, moving, video
from PIL import Image
from released_samples import networks, training
from torch import nn

import fabnet as library
from fabnet.boxes import Box, crop_box
from fabnet.modules.model import FAbNet
from fabnet.pretext.released import PUBLISHED
from stages.runtime.files import file_digest

IMAGE = drawn_faces(320, 240, FACE)
Networks = tuple[FAbNet, nn.Sequential]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FABNET_MODEL", raising=False)


@pytest.fixture(scope="module")
def theirs() -> Networks:
    """What is in the file `released`."""
    return networks(8, PUBLISHED)


def authors_outputs(theirs: Networks, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and outputs of the head as the authors' demo computes them: cut and scaled by PIL."""
    net, head = theirs
    face = Image.fromarray(IMAGE).crop(crop_box(box, 0.2)).resize((256, 256), Image.Resampling.BILINEAR)
    with torch.inference_mode():
        embedding = net.encoder(torch.from_numpy(np.array(face)).permute(2, 0, 1)[None] / 255).flatten(1)
        return embedding.numpy()[0], head(embedding).numpy()[0]


def test_an_embedding_is_that_of_the_authors_crop_and_resize(released, theirs):
    image_file(Path("face.png"), IMAGE)
    assert fabnet("embed", "face.png", "--released", released) == 0
    (row,) = pq.read_table("faces.parquet").to_pylist()
    expected, _ = authors_outputs(theirs, [row[name] for name in ("x0", "y0", "x1", "y1")])
    assert len(row["embedding"]) == 256
    spread = float(expected.std())
    np.testing.assert_allclose(row["embedding"], expected, atol=0.02 * spread)  # PIL rounds to 8 bits


def test_attributes_are_those_of_the_head_in_the_file(released, theirs):
    image_file(Path("face.png"), IMAGE)
    assert fabnet("attributes", "face.png", "--released", released) == 0
    (row,) = pq.read_table("attributes.parquet").to_pylist()
    _, outputs = authors_outputs(theirs, [row[name] for name in ("x0", "y0", "x1", "y1")])
    names = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
    found = [row[f"expression_{name}"] for name in names]
    assert found == pytest.approx((1 / (1 + np.exp(-outputs))).tolist(), abs=0.02)


def test_the_metadata_name_the_file_by_its_digest_and_the_authors_crop(released):
    image_file(Path("face.png"), IMAGE)
    assert fabnet("embed", "face.png", "--released", released) == 0
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema("faces.parquet").metadata.items()}
    assert metadata["model_sha256"] == file_digest(released)
    assert metadata["model"] == "released, as its authors published it, 256 px"
    assert json.loads(metadata["options"])["released"] == str(released)
    crop = json.loads(metadata["crop"])
    assert (crop["detector"], crop["crop_px"], crop["margin_frac"]) == ("dlib_hog", 0, 0.2)
    assert "PIL" in crop["scaling"]


def test_an_expression_is_drawn_onto_a_video(released):
    assert fabnet("overlay", video(Path("clip.mp4"), moving(2)), "--released", released) == 0
    assert Path("clip.overlay.mp4").stat().st_size > 0


def test_faces_are_looked_up_by_the_network_of_their_table(released):
    image_file(Path("face.png"), IMAGE)
    assert fabnet("embed", video(Path("clip.mp4"), moving(2)), "--released", released) == 0
    assert fabnet("retrieve", "faces.parquet", "face.png", "--released", released) == 0
    assert Path("neighbours.jpg").stat().st_size > 0


def test_a_training_checkpoint_has_embeddings_and_no_attributes(theirs, capsys):
    torch.save(training(theirs[0]), "epoch.pth")
    image_file(Path("face.png"), IMAGE)
    assert fabnet("embed", "face.png", "--released", "epoch.pth") == 0
    assert fabnet("attributes", "face.png", "--released", "epoch.pth") == 1
    error = capsys.readouterr().err
    assert error == "error: released should have attribute heads, found none in its file: use `fabnet embed`\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--released", "gone.pth"), "gone.pth does not exist: name a file of the authors' release"),
        (("--released", "text.pth"), "text.pth should be a file of the authors' release, such as affectnet_4views.pth"),
        (("--released", "small.pth"), "expected encoder.0.weight of shape [32, 3, 4, 4], found [4, 3, 4, 4]"),
        (("--model", "text.pth"), "; a file of the authors' release is named with --released"),
        (("--model", "text.pth", "--released", "text.pth"), "name two networks: leave one of them out"),
    ],
)
def test_another_file_is_an_error_in_one_sentence(arguments, sentence, capsys):
    image_file(Path("face.png"), IMAGE)
    Path("text.pth").write_text("not weights", encoding="utf-8")
    torch.save(training(networks()[0]), "small.pth")
    assert fabnet("embed", "face.png", *arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_python_loads_the_same_network(released):
    net = library.load(released, "cpu", kind="released")
    assert (net.attribute_names, net.description.size_px) == (["expression"], 256)
    assert net.description.settings["weights_sha256"] == file_digest(released)
    assert net.crop.crop_px == 0
    with pytest.raises(ValueError, match=r"^kind should be model or released, found 'other'$"):
        library.load(released, kind="other")  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_exported_encoder_of_released_weights_is_theirs(released, theirs):
    assert fabnet("export", "released.pt2", "--released", released) == 0
    images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs[0].encoder(images).flatten(1)
        found = torch.export.load("released.pt2").module()(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
