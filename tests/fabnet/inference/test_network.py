import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import fabnet
from fabnet.inference import batches, model_file
from fabnet.inference.crop import Crop
from fabnet.inference.model_file import Description, Head
from fabnet.modules.method import Method
from fabnet.pretext import autoencoder, contrastive, fabnet_sources, pca, released, rotation, split_brain
from fabnet.pretext import fabnet as single

SMALL = {"width": 4, "embedding": 6}
SIZE_PX = 32
CROP = Crop("dlib_hog", "", (0, 1), 0.0, 0.0, 256, "square", "bilinear")
HEAD = Head("pose", "aflw", "pose", "pose", ("roll", "pitch", "yaw"), 0.1)
FACES = np.random.default_rng(3).integers(0, 256, (5, 40, 48, 3), np.uint8)
WEIGHTS = {"weights": "", "weights_sha256": ""}


def built(module: ModuleType, settings: dict[str, Any]) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        method = module.build(module.Params(**settings), size_px=SIZE_PX)
        for value in method.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape) / 10)  # running statistics and components are not zeros
    return method.eval()


def head_state(dims: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    names = {"0.weight": (dims,), "0.bias": (dims,), "0.running_mean": (dims,), "0.running_var": (dims,)}
    return {name: torch.rand(shape, generator=generator) for name, shape in {**names, "1.weight": (3, dims)}.items()}


def write(folder: Path, module: ModuleType = single, settings: dict[str, Any] = SMALL, **changes: Any) -> Method:
    """A model file with one head, as `package` writes it."""
    name = module.__name__.rsplit(".", 1)[-1]
    described = Description(name, settings, SIZE_PX, 6, 3, 7, ("voxceleb1",), CROP, (HEAD,), "abc")
    method = built(module, settings)
    save_file(
        model_file.tensors(method, {"pose": head_state()}),
        folder / model_file.NAME,
        replace(described, **changes).metadata(),
    )
    return method


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (single, SMALL),
        (fabnet_sources, {**SMALL, "sources": 3}),
        (autoencoder, SMALL),
        (rotation, SMALL),
        (split_brain, {**SMALL, "target": "regression"}),
        (contrastive, {**SMALL, "projection": 4, "temperature": 0.1}),
        (pca, {"embedding": 6, "side_px": 8, "frames": 4}),
        (released, {**WEIGHTS, **SMALL, "size_px": SIZE_PX}),
    ],
)
def test_every_weight_of_a_method_comes_back(tmp_path: Path, module: ModuleType, settings: dict[str, Any]):
    method = write(tmp_path, module, settings)
    found = fabnet.load(tmp_path, "cpu").method.state_dict()
    assert found.keys() == method.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in method.state_dict().items())


def test_a_head_that_came_with_supplied_weights_comes_back(tmp_path: Path):
    settings = {**WEIGHTS, **SMALL, "size_px": SIZE_PX}
    described = Description("released", settings, SIZE_PX, 6, 3, 0, (), CROP, (), "abc")
    method = built(released, settings)
    method.head.grow(torch.zeros(2, 6))
    save_file(model_file.tensors(method, {}), tmp_path / model_file.NAME, described.metadata())
    assert fabnet.load(tmp_path, "cpu").method.state_dict().keys() == method.state_dict().keys()


def test_a_file_and_its_folder_are_the_same(tmp_path: Path):
    write(tmp_path)
    one, other = fabnet.load(str(tmp_path), "cpu"), fabnet.load(tmp_path / model_file.NAME, "cpu")
    assert (one.embed(FACES) == other.embed(FACES)).all()
    assert one.crop == CROP


def test_pictures_of_every_form_give_the_same_embeddings_in_any_batch(tmp_path: Path):
    write(tmp_path)
    net = fabnet.load(tmp_path, "cpu")
    expected = net.embed(FACES)
    assert expected.shape == (5, 6)
    assert expected.dtype == np.float32
    floats = FACES.transpose(0, 3, 1, 2) / 255.0
    for some in (list(FACES), torch.from_numpy(FACES), floats, torch.from_numpy(floats).float(), list(floats)):
        assert net.embed(some, batch=2) == pytest.approx(expected, abs=1e-5)


def test_pictures_of_different_sizes_are_embedded_each_by_itself(tmp_path: Path):
    write(tmp_path)
    net = fabnet.load(tmp_path, "cpu")
    mixed = [FACES[0], FACES[1, :20], FACES[2, :1, :1]]
    expected = np.concatenate([net.embed(picture[None]) for picture in mixed])
    assert net.embed(mixed) == pytest.approx(expected, abs=1e-6)


def test_no_picture_gives_no_row(tmp_path: Path):
    write(tmp_path)
    net = fabnet.load(tmp_path, "cpu")
    assert net.embed([]).shape == (0, 6)
    assert net.attributes([])["pose"].shape == (0, 3)
    assert net.attributes(FACES[:0])["pose"].shape == (0, 3)
    assert net.warp(FACES[:1], []).shape == (0, SIZE_PX, SIZE_PX, 3)


@pytest.mark.parametrize(
    ("images", "clause"),
    [
        (FACES[0], r"found uint8 \(40, 48, 3\)"),
        (FACES[..., :1], r"found uint8 \(5, 40, 48, 1\)"),
        (FACES.astype(np.int64), r"found int64 \(5, 40, 48, 3\)"),
        (FACES / 255.0, r"found float64 \(5, 40, 48, 3\)"),
        (FACES[:, :0], r"found uint8 \(5, 0, 48, 3\)"),
        (FACES.transpose(0, 3, 1, 2).astype(np.float32), r"should lie in \[0, 1\]: divide them by 255"),
        (np.full((1, 3, 8, 8), np.nan), r"should lie in \[0, 1\]"),
    ],
)
def test_what_are_no_pictures_is_told_in_one_sentence(tmp_path: Path, images: Any, clause: str):
    write(tmp_path)
    with pytest.raises(ValueError, match=clause):
        fabnet.load(tmp_path, "cpu").embed(images)


def test_points_follow_the_size_of_each_picture(tmp_path: Path):
    head = replace(HEAD, name="landmarks", task="landmarks", probe="points", columns=("x0", "y0"))
    state = {**head_state(), "1.weight": torch.zeros(2, 6)}  # always the centre of the picture
    described = Description("fabnet", SMALL, SIZE_PX, 6, 3, 7, (), CROP, (head,), "abc")
    tensors = model_file.tensors(built(single, SMALL), {"landmarks": state})
    save_file(tensors, tmp_path / model_file.NAME, described.metadata())
    net = fabnet.load(tmp_path, "cpu")
    found = net.attributes([FACES[0], FACES[1, :20, :10]])
    assert found["landmarks"].tolist() == [[[23.5, 19.5]], [[4.5, 9.5]]]
    assert net.attributes([])["landmarks"].shape == (0, 1, 2)


def test_a_driving_face_warps_the_source_like_the_network_itself(tmp_path: Path):
    method = write(tmp_path)
    warped = fabnet.load(tmp_path, "cpu").warp(FACES[:1], FACES[1:], batch=3)
    source, *targets = torch.cat(list(batches.batches(FACES, SIZE_PX, 5)))
    with torch.no_grad():
        expected = method.get_submodule("net")(source.expand(4, 1, *source.shape), torch.stack(targets))
    assert warped.dtype == np.uint8
    assert warped.shape == (4, SIZE_PX, SIZE_PX, 3)
    assert warped / 255 == pytest.approx(expected.permute(0, 2, 3, 1).numpy(), abs=0.5 / 255 + 1e-6)


def test_several_sources_are_mixed_only_by_a_network_that_weighs_them(tmp_path: Path):
    write(tmp_path, fabnet_sources, {**SMALL, "sources": 3})
    assert fabnet.load(tmp_path, "cpu").warp(FACES[:3], FACES[3:]).shape == (2, SIZE_PX, SIZE_PX, 3)
    write(tmp_path)
    for count in (0, 2):
        with pytest.raises(ValueError, match=f"expected one source picture for fabnet, found {count}"):
            fabnet.load(tmp_path, "cpu").warp(FACES[:count], FACES[3:])


def test_a_method_without_a_sampler_says_that_it_warps_nothing(tmp_path: Path):
    write(tmp_path, autoencoder)
    with pytest.raises(ValueError, match="autoencoder has no sampler, so it warps nothing: take fabnet"):
        fabnet.load(tmp_path, "cpu").warp(FACES[:1], FACES)


def complaint(path: Path) -> str:
    with pytest.raises(ValueError, match="is no usable model file") as caught:
        fabnet.load(path, "cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value).split(": ", 1)[1]


def edit(folder: Path, **changes: Any) -> None:
    """Rewrite fields of the description."""
    path = folder / model_file.NAME
    described, _ = model_file.read(path)
    fields = {**json.loads(described.metadata()[model_file.KEY]), **changes}
    save_file(load_file(path), path, {model_file.KEY: json.dumps(fields)})


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    assert complaint(tmp_path) == "it cannot be read (No such file or directory)"


@pytest.mark.parametrize("keep", [0, 5, 60, 3000, -10])
def test_a_file_that_was_cut_short_is_told_in_one_sentence(tmp_path: Path, keep: int):
    write(tmp_path)
    path = tmp_path / model_file.NAME
    path.write_bytes(path.read_bytes()[:keep])
    assert complaint(tmp_path).startswith(("it is empty", "it is damaged", "it is a damaged safetensors file"))


def test_a_pickled_file_is_refused_and_not_executed(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / model_file.NAME).write_bytes(pickle.dumps(Trap()))
    assert complaint(tmp_path)
    torch.save({"a": Trap()}, tmp_path / model_file.NAME)
    assert "pickled code" in complaint(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_other_weights_are_no_model_file(tmp_path: Path):
    for write_other in (save_file, torch.save):
        write_other({"weight": torch.zeros(2)}, tmp_path / model_file.NAME)
        assert complaint(tmp_path).startswith("it holds other weights")


@pytest.mark.parametrize("found", [0, 2, "1", None])
def test_another_format_is_named(tmp_path: Path, found: Any):
    write(tmp_path)
    edit(tmp_path, format=found)
    assert complaint(tmp_path) == f"expected model format 1, found {found!r}: package it with this version"


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"method": "mae"}, "it needs 'mae' of fabnet.pretext, expected one of autoencoder, "),
        ({"method": "own"}, "an encoder of your own is used from its own file"),
        ({"settings": {"width": 4}}, "its weights or settings do not fit fabnet"),
        ({"settings": {**SMALL, "width": 8}}, "its weights or settings do not fit fabnet"),
        ({"size_px": 64}, "its weights or settings do not fit fabnet"),
        ({"size_px": 33}, "its weights or settings do not fit fabnet"),
        ({"heads": [{"name": "pose"}]}, "its description makes no sense ('columns')"),
        ({"crop": {}}, "its description makes no sense ('upsample')"),
        ({"more": 1}, "its description makes no sense ("),
    ],
)
def test_a_description_that_does_not_fit_is_told_in_one_sentence(tmp_path: Path, changes: dict[str, Any], clause: str):
    write(tmp_path)
    edit(tmp_path, **changes)
    assert complaint(tmp_path).startswith(clause)


@pytest.mark.parametrize("probe", ["classes", "neighbours"])
def test_a_probe_without_weights_or_without_a_head_is_told(tmp_path: Path, probe: str):
    write(tmp_path)
    path = tmp_path / model_file.NAME
    described, weights = model_file.read(path)
    head = replace(HEAD, name="other" if probe == "classes" else "pose", probe=probe)
    save_file(weights, path, replace(described, heads=(head,)).metadata())
    assert complaint(tmp_path).startswith(f"it holds no probe for {head.name}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what should be missing")
def test_a_device_that_is_not_there_is_told(tmp_path: Path):
    write(tmp_path)
    for name in ("cuda", "abacus"):
        with pytest.raises(ValueError, match=f"device '{name}' is not available here: take auto or cpu"):
            fabnet.load(tmp_path, name)
