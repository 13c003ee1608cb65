import json
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_server import mutated
from safetensors.torch import load_file, save_file

from fabnet.modules import model_file
from fabnet.modules.face_crop import Crop
from fabnet.modules.model_file import Description, HeadDescription
from fabnet.pretext import fabnet, masked_autoencoder
from fabnet.pretext import random as random_weights

SETTINGS = {"width": 4, "embedding": 6}
TRAINED = Description("fabnet", SETTINGS, 32, 6, 3, 7, ("voxceleb1",))
CROP = Crop("dlib_hog", "", (0, 1), 0.0, 0.0, 256, "square", "bilinear")
HEAD = HeadDescription("pose", "aflw", "pose", "pose", ("roll", "pitch", "yaw"), 0.1)
PACKAGED = Description("fabnet", SETTINGS, 32, 6, 3, 7, ("voxceleb1",), CROP, (HEAD,), "abc", ("voxceleb1",))


def method(module: Any = fabnet) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module.build(module.Params(**SETTINGS), size_px=32)


def write(path: Path, description: Description = TRAINED, **heads: Any) -> Any:
    net = method()
    model_file.write(path, description, net, heads)
    return net


def rewrite(path: Path, text: str) -> None:
    save_file(load_file(path), path, {model_file.KEY: text})


def fields(description: Description, **changes: Any) -> str:
    return json.dumps({**json.loads(description.metadata()[model_file.KEY]), **changes})


def complaint(path: Path) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        model_file.read(path)
    return str(caught.value)


@pytest.mark.parametrize("description", [TRAINED, PACKAGED])
def test_a_description_comes_back(tmp_path: Path, description: Description):
    write(tmp_path / "a.safetensors", description)
    assert model_file.read(tmp_path / "a.safetensors")[0] == description


def test_a_file_holds_every_weight_once_and_the_heads(tmp_path: Path):
    state = {"1.weight": torch.ones(3, 6)}
    net = write(tmp_path / "a.safetensors", PACKAGED, pose=state)
    names = model_file.read(tmp_path / "a.safetensors")[1].keys()
    of_net = {f"method.net.{name}" for name in net.net.state_dict()}
    assert names == {*of_net, "heads.pose.1.weight"}


def test_a_restored_method_has_all_weights_and_is_in_evaluation_mode(tmp_path: Path):
    net = write(tmp_path / "a.safetensors")
    restored = model_file.restore(fabnet, *model_file.read(tmp_path / "a.safetensors"))
    assert not restored.training
    assert restored.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(restored.state_dict()[name], value) for name, value in net.state_dict().items())


def test_weights_of_another_method_do_not_fit(tmp_path: Path):
    model_file.write(tmp_path / "a.safetensors", TRAINED, method(random_weights))
    with pytest.raises(ValueError, match=r"^its weights or settings do not fit fabnet \([^\n]*net.sampler"):
        model_file.restore(fabnet, *model_file.read(tmp_path / "a.safetensors"))


def test_the_layout_of_weights_in_memory_does_not_change_the_file(tmp_path: Path):
    write(tmp_path / "rows")
    model_file.write(tmp_path / "channels", TRAINED, method().to(memory_format=torch.channels_last))
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "channels").read_bytes()


def test_a_file_of_the_format_before_is_read(tmp_path: Path):
    write(tmp_path / "a.safetensors", PACKAGED)
    before = json.loads(fields(PACKAGED, format=2))
    del before["synthetic"]
    rewrite(tmp_path / "a.safetensors", json.dumps(before))
    assert model_file.read(tmp_path / "a.safetensors")[0] == replace(PACKAGED, synthetic=None)


def test_the_data_sets_behind_a_network_are_those_of_its_encoder_and_heads():
    assert PACKAGED.datasets == ("aflw", "voxceleb1")


@pytest.mark.parametrize("value", [1, 4, "2", None])
def test_the_error_for_another_format_names_it(tmp_path: Path, value: Any):
    write(tmp_path / "a.safetensors")
    rewrite(tmp_path / "a.safetensors", fields(TRAINED, format=value))
    expected = f"expected model format 2 or 3, found {value!r}: make it with this version"
    assert complaint(tmp_path / "a.safetensors") == expected


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}", '"text"'])
def test_a_description_that_is_not_one_is_refused(tmp_path: Path, text: str):
    write(tmp_path / "a.safetensors")
    rewrite(tmp_path / "a.safetensors", text)
    assert complaint(tmp_path / "a.safetensors").startswith("its description makes no sense (")


@pytest.mark.parametrize("changes", [{"heads": [{"name": "pose"}]}, {"crop": {}}, {"crop": 3}, {"more": 1}])
def test_a_description_with_wrong_fields_is_refused(tmp_path: Path, changes: dict[str, Any]):
    write(tmp_path / "a.safetensors")
    rewrite(tmp_path / "a.safetensors", fields(TRAINED, **changes))
    assert complaint(tmp_path / "a.safetensors").startswith("its description makes no sense (")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a file whose start cannot be read")
def test_a_disk_that_fails_is_not_taken_for_a_damaged_file(tmp_path: Path):
    (tmp_path / "a.safetensors").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error"):
        model_file.read(tmp_path / "a.safetensors")


def test_a_missing_file_a_folder_and_other_weights_are_refused(tmp_path: Path):
    assert complaint(tmp_path / "a.safetensors") == "there is no such file"
    assert complaint(tmp_path).startswith("it cannot be read (")
    save_file({"weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert complaint(tmp_path / "a.safetensors").startswith("it holds other weights")


@pytest.mark.parametrize("data", [b"", b"weights", bytes(7) + b"\xff{", b"<html>not found</html>"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes):
    (tmp_path / "a.safetensors").write_bytes(data)
    assert complaint(tmp_path / "a.safetensors") == "it is damaged or not a safetensors file"


CROP_OF_A_KILOMETRE = {**asdict(CROP), "crop_px": 10**9}
IMPOSSIBLE = [("size_px", 2**40), ("size_px", "32"), ("size_px", 0), ("dims", 10**30), ("crop", CROP_OF_A_KILOMETRE)]


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_numbers_that_no_network_has_are_refused(tmp_path: Path, name: str, value: Any):
    write(tmp_path / "a.safetensors", PACKAGED)
    rewrite(tmp_path / "a.safetensors", fields(PACKAGED, **{name: value}))
    assert complaint(tmp_path / "a.safetensors").startswith(f"its {name.replace('crop', 'crop_px')} should be a whole")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_crop_without_a_finite_margin_is_refused(tmp_path: Path, value: float):
    write(tmp_path / "a.safetensors", PACKAGED)
    rewrite(tmp_path / "a.safetensors", fields(PACKAGED, crop={**asdict(CROP), "margin_frac": value}))
    assert "its margin_frac should be a number" in complaint(tmp_path / "a.safetensors")


def test_a_description_of_brackets_is_refused(tmp_path: Path):
    write(tmp_path / "a.safetensors")
    rewrite(tmp_path / "a.safetensors", "[" * 100_000)
    assert "its description makes no sense" in complaint(tmp_path / "a.safetensors")


HUGE = [(fabnet, {"width": 2**11, "embedding": 6}), (masked_autoencoder, {"blocks": 10**9})]


@pytest.mark.parametrize(("module", "settings"), HUGE)
def test_settings_of_a_far_larger_network_than_the_weights_build_none(
    tmp_path: Path, module: Any, settings: dict[str, Any]
):
    write(tmp_path / "a.safetensors")
    description, tensors = model_file.read(tmp_path / "a.safetensors")
    names = dict.fromkeys(module.Params.__dataclass_fields__, 4)
    with pytest.raises(ValueError, match=r"do not fit .* of a far larger network than its weights"):
        model_file.restore(module, replace(description, settings={**names, **settings}), tensors)
    model_file.restore(fabnet, description, tensors)


def test_mutated_model_files_are_restored_or_refused(tmp_path: Path):
    write(tmp_path / "a.safetensors", PACKAGED)
    intact, draw, refused = (tmp_path / "a.safetensors").read_bytes(), random.Random(8), 0
    for _ in range(150):
        head = draw.choice((200, 2000, len(intact)))  # most of what can go wrong stands at the start
        (tmp_path / "b.safetensors").write_bytes(mutated(intact[:head], draw) + intact[head:])
        try:
            model_file.restore(fabnet, *model_file.read(tmp_path / "b.safetensors"))
        except ValueError:
            refused += 1
    assert refused > 50
