"""Encoders that the user supplies, from the weight file through `pretrain` to `embed`."""

import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from face_samples import COUNT, face_image, write_faces
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from track_samples import params

from fabnet.modules import crops, model_file
from fabnet.modules.model import FAbNet
from stages import embed, pretrain
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import EmbedParams
from stages.storage import media
from stages.training import models

OURS = {"encoder": "encoder", "sampler": "decoder", "confidence": "mask"}


def packed(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def released() -> tuple[bytes, dict[str, Any], nn.Module]:
    """A file in the layout of the authors, its settings, and the network in it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = FAbNet(size_px=64, width=4, embedding=6, with_confidence=True).eval()
        head = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 8, bias=False))
    parts = {name: name.split(".")[0] for name in net.state_dict()}
    theirs = {name.replace(parts[name], OURS[parts[name]], 1): value for name, value in net.state_dict().items()}
    data = packed({"state_dict_model": theirs, "state_dict": head.state_dict()})
    return data, {"size_px": 64, "width": 4, "embedding": 6}, net.encoder


def exported() -> tuple[bytes, dict[str, Any], nn.Module]:
    net, buffer = small_network(), io.BytesIO()
    example = (torch.rand(3, 3, 48, 48),)
    torch.export.save(torch.export.export(net, example, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), buffer)
    return buffer.getvalue(), {**OWN, "kind": "export"}, net


def torchscript() -> tuple[bytes, dict[str, Any], nn.Module]:
    net, buffer = small_network(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(net), buffer)
    return buffer.getvalue(), {**OWN, "kind": "torchscript"}, net


OWN = {"name": "", "size_px": 48, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def small_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5)).eval()


ENCODERS = {"released": released, "export": exported, "torchscript": torchscript}


def pretrained(root: Path, method: str, data: bytes, settings: dict[str, Any], **changes: Any) -> Path:
    """`pretrain` with `data` as the weight file; there are no tracks."""
    file = root / "weights.bin"
    file.write_bytes(data)
    named = {"weights": str(file), "weights_sha256": hashlib.sha256(data).hexdigest(), **settings, **changes}
    pretrain.run(
        method=method, seed=0, track_sets=["voxceleb1"], pretrain=params(), settings=named, tracks=root / "tracks",
        splits=root / "splits", out=root / "model", journal=root / "journal",
    )  # fmt: skip
    return root / "model"


def embeddings(root: Path) -> dict[str, list[float]]:
    embed.run(
        model=root / "model", faces=root / "faces", out=root / "out", journal=root / "journal", face_sets=["affectnet"],
        track_sets=[], followed=[], tracks=root / "tracks", track_splits=root / "splits",
        embed=EmbedParams(batch=3, device="cpu", frames_per_track=3),
    )  # fmt: skip
    rows = tables.read(root / "out" / "affectnet.parquet", tables.EMBEDDINGS).to_pylist()
    return {row["sample_id"]: row["embedding"] for row in rows}


def resized(number: int, size_px: int) -> Tensor:
    stored = media.decode_image(media.encode_jpeg(face_image(number), 95))
    return crops.resize(torch.from_numpy(stored)[None], size_px)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_supplied_encoder_embeds_every_image_without_tracks(tmp_path: Path, encoder: str):
    data, settings, net = ENCODERS[encoder]()
    model = pretrained(tmp_path, "released" if encoder == "released" else "own", data, settings)
    write_faces(tmp_path / "faces" / "affectnet")
    found = embeddings(tmp_path)
    description = models.load(model)[1]
    assert (description.size_px, description.trained_on, description.steps) == (settings["size_px"], (), 0)
    assert len(found) == COUNT
    with torch.inference_mode():
        for number in range(COUNT):
            expected = net(resized(number, settings["size_px"])).flatten().numpy()
            assert found[f"{number}"] == pytest.approx(expected, abs=1e-5)


def test_the_head_of_a_released_file_is_saved_in_the_model_file(tmp_path: Path):
    data, settings, _ = released()
    method, _ = models.load(pretrained(tmp_path, "released", data, settings))
    head = torch.load(io.BytesIO(data), weights_only=True)["state_dict"]
    assert method.head.state_dict().keys() == head.keys()
    assert all(torch.equal(method.head.state_dict()[name], value) for name, value in head.items())


def test_an_encoder_without_weights_embeds_too(tmp_path: Path):
    pretrain.run(
        method="constant", seed=0, track_sets=[], pretrain=params(), settings={"embedding": 4},
        tracks=tmp_path / "tracks", splits=tmp_path / "splits", out=tmp_path / "model", journal=tmp_path / "journal",
    )  # fmt: skip
    write_faces(tmp_path / "faces" / "affectnet")
    assert np.array(list(embeddings(tmp_path).values())).tolist() == [[0.0] * 4] * COUNT


def complaint(root: Path, method: str, data: bytes, settings: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        pretrained(root, method, data, settings, **changes)
    assert "\n" not in str(caught.value)
    assert not (root / "model").exists()
    return str(caught.value)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("keep", [0, 100, 0.9])
def test_a_truncated_file_is_a_user_error(tmp_path: Path, encoder: str, keep: float):
    data, settings, _ = ENCODERS[encoder]()
    method = "released" if encoder == "released" else "own"
    cut = data[: int(keep * len(data)) if isinstance(keep, float) else keep]
    sentence = complaint(tmp_path, method, cut, settings)
    assert f"weights.bin cannot be used as the weights of {method}: it is " in sentence


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_file_with_another_digest_is_a_user_error(tmp_path: Path, encoder: str):
    data, settings, _ = ENCODERS[encoder]()
    method = "released" if encoder == "released" else "own"
    sentence = complaint(tmp_path, method, data, settings, weights_sha256="0" * 64)
    assert f"method.{method}.weights_sha256 should be the sha256 of" in sentence


def test_a_missing_file_is_a_user_error(tmp_path: Path):
    data, settings, _ = released()
    assert "method.released.weights should be the path of the weights of released: found an empty value" in complaint(
        tmp_path, "released", data, settings, weights=""
    )


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("released", {"size_px": 64, "width": 4, "embedding": 6}),
        ("vgg_face", {"size_px": 32, "layer": "fc6", "channels": "rgb"}),
    ],
)
def test_weights_of_another_network_and_pickled_code_are_user_errors(
    tmp_path: Path, method: str, settings: dict[str, Any]
):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    other = packed({"state_dict": small_network().state_dict()})
    assert "it is of another network" in complaint(tmp_path, method, other, settings)
    assert "it holds pickled code (" in complaint(tmp_path, method, packed({"state_dict": Trap()}), settings)
    assert "it is damaged or not a weight file" in complaint(tmp_path, method, pickle.dumps(Trap()), settings)
    assert not (tmp_path / "run").exists()


def test_a_program_that_was_swapped_in_the_model_file_is_not_executed(tmp_path: Path):
    data, settings, _ = exported()
    model = pretrained(tmp_path, "own", data, settings)
    (tmp_path / "other").mkdir()
    other = pretrained(tmp_path / "other", "own", *torchscript()[:2])
    description = model_file.read(model / model_file.NAME)[0]
    save_file(load_file(other / model_file.NAME), model / model_file.NAME, description.metadata())
    with pytest.raises(UserError, match="the program is not the one with the digest that is trusted"):
        models.load(model)
