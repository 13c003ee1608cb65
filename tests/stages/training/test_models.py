import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fabnet.pretext import fabnet, random
from stages.runtime.errors import UserError
from stages.training import models

SETTINGS = {"width": 4, "embedding": 6}
CARD = models.ModelCard("fabnet", 3, 32, SETTINGS, ["voxceleb1"], 12)


def method(module: Any = fabnet) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module.build(module.Params(**SETTINGS), size_px=32)


def write(folder: Path, module: Any = fabnet) -> Any:
    net = method(module)
    models.save(folder, replace(CARD, method=module.__name__.rsplit(".", 1)[-1]), net)
    return net


def edit_card(folder: Path, **changes: Any) -> None:
    fields = {**json.loads((folder / "model.json").read_text()), **changes}
    (folder / "model.json").write_text(json.dumps(fields))


def test_what_was_saved_is_loaded(tmp_path: Path):
    net = write(tmp_path / "model").eval()
    encoder, card = models.load(tmp_path / "model")
    frames = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert card == CARD
    assert not encoder.training
    assert torch.equal(encoder(frames), net.encoder(frames))


def test_the_files_together_hold_every_weight_once(tmp_path: Path):
    net = write(tmp_path)
    encoder, rest = load_file(tmp_path / "encoder.safetensors"), load_file(tmp_path / "method.safetensors")
    assert encoder.keys() == net.encoder.state_dict().keys()
    assert rest.keys() == {f"net.sampler.{key}" for key in net.net.sampler.state_dict()}


def test_a_method_that_is_only_an_encoder_has_an_empty_rest(tmp_path: Path):
    write(tmp_path, random)
    assert load_file(tmp_path / "method.safetensors") == {}
    assert models.load(tmp_path)[1].method == "random"


def test_the_layout_of_weights_in_memory_does_not_show_in_the_files(tmp_path: Path):
    write(tmp_path / "rows")
    net = method().to(memory_format=torch.channels_last)
    models.save(tmp_path / "channels", CARD, net)
    for name in ("encoder.safetensors", "method.safetensors", "model.json"):
        assert (tmp_path / "rows" / name).read_bytes() == (tmp_path / "channels" / name).read_bytes()


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        models.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["model.json", "encoder.safetensors"])
def test_a_missing_file_is_told_with_what_to_run(tmp_path: Path, name: str):
    write(tmp_path)
    (tmp_path / name).unlink()
    assert "is missing: run `dvc repro pretrain`" in complaint(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "encoder.safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 100])
def test_a_truncated_file_is_told_in_one_sentence(tmp_path: Path, name: str, keep: int):
    write(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    assert "holds no readable model" in complaint(tmp_path)


def test_a_pickled_file_is_refused_and_not_executed(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    write(tmp_path)
    (tmp_path / "encoder.safetensors").write_bytes(pickle.dumps(Trap()))
    assert "holds no readable model" in complaint(tmp_path)
    torch.save({"a": Trap()}, tmp_path / "encoder.safetensors")
    assert "holds no readable model" in complaint(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "change", [{"settings": {**SETTINGS, "width": 8}}, {"settings": {**SETTINGS, "embedding": 5}}, {"size_px": 64}]
)
def test_weights_of_another_shape_are_told_in_one_sentence(tmp_path: Path, change: dict[str, Any]):
    write(tmp_path)
    edit_card(tmp_path, **change)
    assert "the weights do not fit model.json" in complaint(tmp_path)


def test_a_missing_weight_is_told_in_one_sentence(tmp_path: Path):
    write(tmp_path)
    weights = load_file(tmp_path / "encoder.safetensors")
    weights.pop("2.weight")
    save_file(weights, tmp_path / "encoder.safetensors")
    assert "2.weight" in complaint(tmp_path)


@pytest.mark.parametrize("change", [{"format": 1}, {"format": 3, "more": 1}, {"format": "2"}])
def test_another_format_is_named(tmp_path: Path, change: dict[str, Any]):
    write(tmp_path)
    edit_card(tmp_path, **change)
    assert f"expected model format 2, found {change['format']!r}" in complaint(tmp_path)


@pytest.mark.parametrize("change", [{"more": 1}, {"size_px": 48}, {"size_px": "32"}, {"settings": None}])
def test_a_description_that_makes_no_sense_is_told_in_one_sentence(tmp_path: Path, change: dict[str, Any]):
    write(tmp_path)
    edit_card(tmp_path, **change)
    assert "holds no readable model" in complaint(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", "\udcff"])
def test_a_description_of_another_kind_is_told_in_one_sentence(tmp_path: Path, text: str):
    write(tmp_path)
    (tmp_path / "model.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "holds no readable model" in complaint(tmp_path)


def test_the_cpu_is_always_there_and_auto_picks_something_that_is():
    assert models.device("cpu") == torch.device("cpu")
    assert models.device("auto").type in ("cpu", "cuda", "mps")
    assert models.device(models.device("auto").type) == models.device("auto")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has what should be missing")
def test_a_device_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(UserError, match=r"device 'mps' is not available here, found cpu.*: set `device: auto`"):
        models.device("mps")


def test_the_whole_method_is_loaded_with_what_is_not_the_encoder(tmp_path: Path):
    net = write(tmp_path).eval()
    loaded, card = models.load_method(tmp_path)
    assert card == CARD
    assert not loaded.training
    for key, value in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_checkpoints_are_found_by_step_and_loaded(tmp_path: Path):
    first = write(tmp_path)
    models.save_checkpoint(tmp_path, first, 30)
    with torch.no_grad():
        first.encoder[0].weight += 1
    models.save_checkpoint(tmp_path, first, 4)
    found = models.checkpoints(tmp_path)
    assert list(found) == [4, 30]
    early, late = (models.load(tmp_path, found[step])[0] for step in (4, 30))
    assert torch.equal(early[0].weight, first.encoder[0].weight)
    assert torch.equal(late[0].weight, models.load(tmp_path)[0][0].weight)


@pytest.mark.parametrize("settings", [{"width": 4}, {**SETTINGS, "more": 1}, {**SETTINGS, "width": "4"}])
def test_settings_that_the_method_does_not_know_are_told_in_one_sentence(tmp_path: Path, settings: dict[str, Any]):
    write(tmp_path)
    edit_card(tmp_path, settings=settings)
    assert "settings" in complaint(tmp_path)
