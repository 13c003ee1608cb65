import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import packaged
import pytest
import torch

import fabnet
from fabnet.inference.network import Network
from fabnet.pretext import fabnet as single
from fabnet.pretext import own, pca
from pipelines.own import export
from stages.runtime.errors import UserError
from stages.training import models

FACES = np.random.default_rng(1).random((7, 3, 32, 32), np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packaged.make(tmp_path_factory.mktemp("model"), single, {"width": 4, "embedding": 6})


@pytest.fixture(scope="module")
def net(model: Path) -> Network:
    return fabnet.load(model, "cpu")


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "fabnet.pt2"
    assert export.export(model, out) < 1e-4
    return out


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_the_exported_programs_agree_with_the_network_for_any_number_of_images(exported: Path, net: Network):
    encoder = torch.export.load(exported).module()
    attributes = torch.export.load(exported.with_name("fabnet-attributes.pt2")).module()
    for count in (1, 7):
        embedding = encoder(torch.from_numpy(FACES[:count]))
        assert embedding.detach().numpy() == pytest.approx(net.embed(FACES[:count]), abs=1e-5)
        found = dict(zip(net.attribute_names, attributes(embedding), strict=True))
        told = net.attributes(FACES[:count])
        assert found["expression"].detach().numpy() == pytest.approx(told["expression"], abs=1e-4)
        assert np.degrees(found["pose"].detach().numpy()) == pytest.approx(told["pose"], abs=1e-3)
        points = found["w300_landmarks"].detach().numpy().reshape(count, -1, 2)
        assert (points + 1) / 2 * 32 - 0.5 == pytest.approx(told["w300_landmarks"], abs=1e-3)


@pytest.mark.slow
def test_the_exported_encoder_is_evaluated_as_a_method_of_ones_own(exported: Path, net: Network):
    settings = own.Params(str(exported), digest(exported), "export", "", 32, [0.0] * 3, [1.0] * 3)
    method = models.build(own, settings, seed=0, size_px=32)
    with torch.inference_mode():
        assert method.encoder(torch.from_numpy(FACES)).numpy() == pytest.approx(net.embed(FACES), abs=1e-5)


@pytest.mark.slow
def test_the_description_travels_with_the_program(exported: Path, net: Network):
    with zipfile.ZipFile(exported) as archive:
        name = next(name for name in archive.namelist() if name.endswith("fabnet.json"))
        assert json.loads(archive.read(name)) == json.loads(net.description.metadata()["fabnet"])


@pytest.fixture(scope="module")
def in_onnx(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The programs in ONNX, and what the command said, while a library warned as well."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("onnx")
    warn = "import logging; logging.getLogger('torch.onnx._internal').warning('this operator is slow')"
    code = f"from pipelines import cli; from pipelines.own import onnx; {warn}; cli.main()"
    command = [sys.executable, "-c", code, "export", "fabnet.onnx", "--model", str(model)]
    env = {**os.environ, "PYTHONPATH": str(packaged.ROOT)}
    return folder, subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)


@pytest.mark.slow
def test_onnx_agrees_for_any_number_of_images_and_names_its_outputs(in_onnx, net: Network):
    import onnxruntime

    encoder, attributes = (
        onnxruntime.InferenceSession(in_onnx[0] / name, providers=["CPUExecutionProvider"])
        for name in ("fabnet.onnx", "fabnet-attributes.onnx")
    )
    assert encoder.get_modelmeta().custom_metadata_map == net.description.metadata()
    assert [output.name for output in attributes.get_outputs()] == net.attribute_names
    for count in (1, 7):
        (embedding,) = encoder.run(["embedding"], {"images": FACES[:count]})
        assert embedding == pytest.approx(net.embed(FACES[:count]), abs=1e-5)
        (scores,) = attributes.run(["expression"], {"embedding": embedding})
        assert scores == pytest.approx(net.attributes(FACES[:count])["expression"], abs=1e-4)


@pytest.mark.slow
def test_an_export_to_onnx_prints_one_line_and_keeps_the_warnings_of_others(in_onnx):
    said = re.fullmatch(r"fabnet.onnx: outputs differ by at most (\S+)\n", in_onnx[1].stdout)
    assert said
    assert float(said[1]) < 1e-4
    warning, note = in_onnx[1].stderr.splitlines()
    assert warning.endswith("this operator is slow")
    assert note.startswith("note: ")


@pytest.mark.slow
def test_principal_components_are_exported_too(tmp_path: Path):
    model = packaged.make(tmp_path, pca, {"embedding": 6, "side_px": 8, "frames": 16})
    assert export.export(model, tmp_path / "pca.pt2") < 1e-4


@pytest.mark.slow
def test_a_program_that_differs_is_not_written(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"differs from the network by .*: nothing was written"):
        export.export(model, tmp_path / "fabnet.pt2")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_a_user_error(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "pipelines.own.onnx", raising=False)
    monkeypatch.delattr("pipelines.own.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"ONNX needs the package onnx, .*: run `pip install -c constraints.txt"):
        export.export(model, tmp_path / "fabnet.onnx")


def test_no_model_file_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="is not a usable model file: there is no such file"):
        export.export(tmp_path, tmp_path / "fabnet.onnx")
