import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from model_samples import described
from safetensors.torch import load_file, save_file

import fabnet as package
from fabnet.modules import model_file
from fabnet.modules.method import Method
from fabnet.pretext import fabnet
from stages.runtime.errors import UserError
from stages.training import models

SETTINGS = {"width": 4, "embedding": 6}
DESCRIPTION = described("fabnet", SETTINGS)


def method() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return fabnet.build(fabnet.Params(**SETTINGS), size_px=32)


def write(folder: Path, **changes: Any) -> Any:
    net = method()
    models.save(folder, described(**{"method": "fabnet", "settings": SETTINGS, **changes}), net)
    return net


def assert_equal(one: Method, other: Method) -> None:
    assert one.state_dict().keys() == other.state_dict().keys()
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_a_saved_method_is_loaded_whole_and_in_evaluation_mode(tmp_path: Path):
    net = write(tmp_path / "model").eval()
    loaded, description = models.load(tmp_path / "model")
    assert description == DESCRIPTION
    assert not loaded.training
    assert_equal(loaded, net)


def test_a_trained_model_loads_by_the_front_door_before_it_is_packaged(tmp_path: Path):
    net = write(tmp_path)
    loaded = package.load(tmp_path, "cpu")
    assert_equal(loaded.method, net)
    faces = torch.zeros(2, 3, 32, 32)
    assert loaded.embed(faces).shape == (2, 6)
    assert (loaded.crop, loaded.attribute_names, loaded.attributes(faces)) == (None, [], {})


def test_the_dimensions_of_an_embedding_are_counted_in_evaluation_mode():
    net = method().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert models.embedding_dims(net, 32) == 6
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def complaint(folder: Path, checkpoint: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        models.load(folder, checkpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_error_for_a_missing_file_names_the_command_that_makes_it(tmp_path: Path):
    assert complaint(tmp_path) == f"{tmp_path}/model.safetensors is missing: run `dvc repro pretrain` to make it"


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_a_user_error(tmp_path: Path, keep: int):
    write(tmp_path)
    path = tmp_path / model_file.NAME
    path.write_bytes(path.read_bytes()[:keep])
    assert complaint(tmp_path) == (
        f"{path} is not a usable model file: it is damaged or not a safetensors file; run `dvc repro --force pretrain`"
    )


@pytest.mark.parametrize("name", [model_file.NAME, "checkpoints/00000004.safetensors"])
def test_a_pickled_file_is_refused_and_not_executed(tmp_path: Path, name: str):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    models.save_checkpoint(tmp_path, write(tmp_path), 4)
    for data in (pickle.dumps(Trap()), None):
        if data is None:
            torch.save({"a": Trap()}, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(data)
        assert f"{name} is not a usable" in complaint(tmp_path, tmp_path / "checkpoints/00000004.safetensors")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {**SETTINGS, "width": 8}},
        {"settings": {**SETTINGS, "width": "4"}},
        {"settings": {**SETTINGS, "more": 1}},
        {"settings": {"width": 4}},
        {"settings": None},
        {"size_px": 64},
        {"size_px": 48},
    ],
)
def test_settings_that_do_not_fit_the_weights_are_a_user_error(tmp_path: Path, changes: dict[str, Any]):
    write(tmp_path, **changes)
    assert "its weights or settings do not fit fabnet (" in complaint(tmp_path)


@pytest.mark.parametrize("change", [{"mean": 5.0}, {"kind": "unknown"}])
def test_settings_of_an_own_encoder_that_no_network_can_have_are_a_user_error(tmp_path: Path, change: dict[str, Any]):
    of_own = {"weights": "x.pt", "weights_sha256": "0" * 64, "kind": "torchscript", "name": "", "size_px": 32}
    write(tmp_path, method="own", settings={**of_own, "mean": [0.5] * 3, "std": [0.5] * 3, **change})
    assert "its weights or settings do not fit own (" in complaint(tmp_path)


def test_the_error_for_an_unknown_method_lists_the_known_ones(tmp_path: Path):
    write(tmp_path, method="mae")
    assert "no module 'mae' in fabnet.pretext: expected one of autoencoder" in complaint(tmp_path)


def test_checkpoints_are_listed_by_step_and_replace_the_encoder(tmp_path: Path):
    first = write(tmp_path)
    models.save_checkpoint(tmp_path, first, 30)
    with torch.no_grad():
        first.encoder[0].weight += 1
    models.save_checkpoint(tmp_path, first, 4)
    paths = models.checkpoints(tmp_path)
    assert list(paths) == [4, 30]
    early, late = (models.load(tmp_path, paths[step])[0].encoder for step in (4, 30))
    assert torch.equal(early[0].weight, first.encoder[0].weight)
    assert torch.equal(late[0].weight, models.load(tmp_path)[0].encoder[0].weight)


def test_a_checkpoint_of_another_encoder_is_a_user_error(tmp_path: Path):
    models.save_checkpoint(tmp_path, write(tmp_path), 4)
    path = tmp_path / "checkpoints" / "00000004.safetensors"
    weights = load_file(path)
    weights.pop("2.weight")
    save_file(weights, path)
    assert f"{path} is not a usable checkpoint (" in complaint(tmp_path, path)
    assert "2.weight" in complaint(tmp_path, path)


def test_auto_picks_an_available_device():
    assert models.device("cpu") == torch.device("cpu")
    assert models.device(models.device("auto").type) == models.device("auto")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has what should be missing")
def test_a_device_that_is_not_available_is_a_user_error():
    with pytest.raises(UserError, match=r"params\.yaml: device 'mps' is not available here: take auto or cpu"):
        models.device("mps")
