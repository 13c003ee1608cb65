import pickle
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import fabnet
from fabnet.inference import batches
from fabnet.modules import model_file
from fabnet.modules.face_crop import Crop
from fabnet.modules.method import Method
from fabnet.modules.model_file import Description, HeadDescription
from fabnet.pretext import autoencoder, contrastive, fabnet_sources, pca, released, rotation, split_brain
from fabnet.pretext import fabnet as single

SMALL = {"width": 4, "embedding": 6}
SIZE_PX = 32
CROP = Crop("dlib_hog", "", (0, 1), 0.0, 0.0, 256, "square", "bilinear")
HEAD = HeadDescription("pose", "aflw", "pose", "pose", ("roll", "pitch", "yaw"), 0.1)
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
    """A model file with one attribute head, as `package` writes it."""
    name = module.__name__.rsplit(".", 1)[-1]
    described = Description(name, settings, SIZE_PX, 6, 3, 7, ("voxceleb1",), CROP, (HEAD,), "abc")
    method = built(module, settings)
    model_file.write(folder / model_file.NAME, replace(described, **changes), method, {"pose": head_state()})
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


def test_a_head_in_supplied_weights_comes_back(tmp_path: Path):
    settings = {**WEIGHTS, **SMALL, "size_px": SIZE_PX}
    described = Description("released", settings, SIZE_PX, 6, 3, 0, (), CROP, (), "abc")
    method = built(released, settings)
    method.head.grow(torch.zeros(2, 6))
    model_file.write(tmp_path / model_file.NAME, described, method)
    assert fabnet.load(tmp_path, "cpu").method.state_dict().keys() == method.state_dict().keys()


def test_a_file_and_its_folder_are_the_same(tmp_path: Path):
    write(tmp_path)
    one, other = fabnet.load(str(tmp_path), "cpu"), fabnet.load(tmp_path / model_file.NAME, "cpu")
    assert (one.embed(FACES) == other.embed(FACES)).all()
    assert one.crop == CROP


def test_images_of_every_form_give_the_same_embeddings_in_any_batch(tmp_path: Path):
    write(tmp_path)
    net = fabnet.load(tmp_path, "cpu")
    expected = net.embed(FACES)
    assert expected.shape == (5, 6)
    assert expected.dtype == np.float32
    floats = FACES.transpose(0, 3, 1, 2) / 255.0
    for images in (list(FACES), torch.from_numpy(FACES), floats, torch.from_numpy(floats).float(), list(floats)):
        assert net.embed(images, batch=2) == pytest.approx(expected, abs=1e-5)


def test_images_of_different_sizes_are_embedded_separately(tmp_path: Path):
    write(tmp_path)
    net = fabnet.load(tmp_path, "cpu")
    mixed = [FACES[0], FACES[1, :20], FACES[2, :1, :1]]
    expected = np.concatenate([net.embed(image[None]) for image in mixed])
    assert net.embed(mixed) == pytest.approx(expected, abs=1e-6)


def test_no_image_gives_no_row(tmp_path: Path):
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
def test_other_arrays_than_images_are_refused(tmp_path: Path, images: Any, clause: str):
    write(tmp_path)
    with pytest.raises(ValueError, match=clause):
        fabnet.load(tmp_path, "cpu").embed(images)


def test_points_are_in_pixels_of_each_image(tmp_path: Path):
    head = replace(HEAD, name="landmarks", task="landmarks", probe="points", columns=("x0", "y0"))
    state = {**head_state(), "1.weight": torch.zeros(2, 6)}  # always the centre of the image
    described = Description("fabnet", SMALL, SIZE_PX, 6, 3, 7, (), CROP, (head,), "abc")
    model_file.write(tmp_path / model_file.NAME, described, built(single, SMALL), {"landmarks": state})
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


def test_only_a_network_with_confidence_mixes_several_sources(tmp_path: Path):
    write(tmp_path, fabnet_sources, {**SMALL, "sources": 3})
    assert fabnet.load(tmp_path, "cpu").warp(FACES[:3], FACES[3:]).shape == (2, SIZE_PX, SIZE_PX, 3)
    write(tmp_path)
    for count in (0, 2):
        with pytest.raises(ValueError, match=f"expected one source image for fabnet, found {count}"):
            fabnet.load(tmp_path, "cpu").warp(FACES[:count], FACES[3:])


def test_a_method_without_a_sampler_cannot_warp(tmp_path: Path):
    write(tmp_path, autoencoder)
    with pytest.raises(ValueError, match="autoencoder has no sampler, so it cannot warp: take fabnet"):
        fabnet.load(tmp_path, "cpu").warp(FACES[:1], FACES)


def complaint(path: Path) -> str:
    with pytest.raises(ValueError, match="is not a usable model file") as caught:
        fabnet.load(path, "cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value).split(": ", 1)[1]


@pytest.mark.parametrize("keep", [0, 5, 60, 3000, -10])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int):
    write(tmp_path)
    path = tmp_path / model_file.NAME
    path.write_bytes(path.read_bytes()[:keep])
    assert complaint(tmp_path) == "it is damaged or not a safetensors file"


def test_a_pickled_file_is_refused_and_not_executed(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / model_file.NAME).write_bytes(pickle.dumps(Trap()))
    assert complaint(tmp_path) == "it is damaged or not a safetensors file"
    torch.save({"a": Trap()}, tmp_path / model_file.NAME)
    assert complaint(tmp_path) == "it is damaged or not a safetensors file"
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"method": "mae"}, "it needs 'mae' of fabnet.pretext, expected one of autoencoder, "),
        ({"method": "own"}, "an encoder of your own is used from its own file"),
        ({"settings": {"width": 4}}, "its weights or settings do not fit fabnet"),
        ({"settings": {**SMALL, "width": 8}}, "its weights or settings do not fit fabnet"),
        ({"size_px": 64}, "its weights or settings do not fit fabnet"),
        ({"size_px": 33}, "its weights or settings do not fit fabnet"),
        ({"heads": (replace(HEAD, name="other"),)}, "it holds no head for other"),
        ({"heads": (replace(HEAD, probe="neighbours"),)}, "it holds no head for pose"),
        ({"heads": (replace(HEAD, probe="tree"),)}, "it needs 'tree' of fabnet.probes, expected one of action_units"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], clause: str):
    method = write(tmp_path)
    described, _ = model_file.read(tmp_path / model_file.NAME)
    model_file.write(tmp_path / model_file.NAME, replace(described, **changes), method, {"pose": head_state()})
    assert complaint(tmp_path).startswith(clause)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what should be missing")
def test_a_device_that_is_not_available_is_refused(tmp_path: Path):
    write(tmp_path)
    for name in ("cuda", "abacus"):
        with pytest.raises(ValueError, match=f"device '{name}' is not available here: take auto or cpu"):
            fabnet.load(tmp_path, name)


def test_named_parts_say_where_they_are_in_an_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path)
    assert fabnet.load(tmp_path).parts == {}
    monkeypatch.setattr(single.SingleSource, "parts", {"pose": (0, 2), "rest": (2, 6)})
    net = fabnet.load(tmp_path)
    assert net.embed(FACES)[:, net.parts["rest"]].shape == (len(FACES), 4)
