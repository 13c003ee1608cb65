"""Which network a command takes, and what it says of it."""

import os
import shutil
from pathlib import Path

import packaged
import pytest
from media_samples import drawn_faces
from own_samples import FACE, fabnet, image_file

from fabnet.pretext import random
from pipelines.own import networks
from stages.runtime.errors import UserError

NOTE = "was trained on the synthetic release and knows only rendered heads: do not trust it on real faces"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder; the project that the command is installed from has no network."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(networks, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.delenv(networks.VARIABLE, raising=False)


def packages(project: Path, *names: str) -> Path:
    folder = project / "data" / "packages"
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_the_named_network_comes_first_then_that_of_the_environment_then_that_of_the_project(tmp_path, monkeypatch):
    of_project = packages(tmp_path, "fabnet-0") / "fabnet-0"
    assert networks.locate(None).resolve() == of_project
    chosen, named = packages(tmp_path / "a", "x") / "x", packages(tmp_path / "b", "y") / "y"
    monkeypatch.setenv(networks.VARIABLE, str(chosen))
    assert networks.locate(None) == chosen
    assert networks.locate(named) == named


def test_the_project_around_the_current_folder_comes_before_the_installed_one(tmp_path):
    installed = packages(networks.CHECKOUT, "fabnet-0") / "fabnet-0"
    assert networks.locate(None) == installed
    assert networks.locate(None).is_absolute()
    around = packages(tmp_path, "fabnet-0") / "fabnet-0"
    assert networks.locate(None) == around


def test_the_first_seed_of_fabnet_is_taken(tmp_path):
    packages(tmp_path, "fabnet-10", "fabnet-2", "fabnet_sources-0", "random-0", "fabnet-x")
    assert networks.locate(None).name == "fabnet-2"


def test_without_a_network_one_sentence_says_what_to_do(tmp_path):
    packages(tmp_path, "random-0")
    expected = r"no trained network is here: expected data/packages/fabnet-0 .*: run `make repro` there, or name a .*"
    with pytest.raises(UserError, match=f"^{expected} with --model or FABNET_MODEL$"):
        networks.locate(None)


def test_a_network_of_the_environment_that_does_not_exist_is_a_user_error(monkeypatch):
    monkeypatch.setenv(networks.VARIABLE, "gone.safetensors")
    with pytest.raises(UserError, match=r"^FABNET_MODEL should name a model file .* found gone.safetensors, which"):
        networks.locate(None)


def test_a_command_takes_the_network_of_the_project_above(tmp_path, model, capsys):
    shutil.copytree(model, packages(tmp_path) / "fabnet-0")
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet("embed", "face.png") == 0
    assert capsys.readouterr().err == f"note: {tmp_path / 'data' / 'packages' / 'fabnet-0'} {NOTE}\n"


@pytest.mark.parametrize("command", [("embed", "face.png"), ("attributes", "face.png"), ("export", "net.pt2")])
def test_a_network_that_knows_only_rendered_heads_says_so_on_one_line(command, model, capsys):
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet(*command, "--model", model) == 0
    assert capsys.readouterr().err == f"note: {model} {NOTE}\n"


def test_a_network_that_saw_real_faces_says_nothing(tmp_path, model, capsys):
    of = packaged.params("fabnet", {"width": 4, "embedding": 6})
    tree = shutil.copytree(model.parents[1], tmp_path / "tree")
    real = of.dataset["w300"].fetch.model_copy(update={"source": "folder"})
    datasets = {name: dataset.model_copy(update={"fetch": real}) for name, dataset in of.dataset.items()}
    packed = packaged.pack(tree, of.model_copy(update={"dataset": datasets}), "real")
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet("embed", "face.png", "--model", packed) == 0
    assert capsys.readouterr().err == ""


def test_attributes_that_were_learnt_from_rendered_heads_are_named(tmp_path, capsys):
    without = packaged.make(tmp_path / "tree", random, {"width": 4, "embedding": 6})
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet("attributes", "face.png", "--model", without) == 0
    heads = "action_units, expression, mafl_landmarks, pose, w300_landmarks"
    sentence = f"note: {without} learnt {heads} from rendered heads alone: do not trust it on real faces\n"
    assert capsys.readouterr().err == sentence


def test_threads_of_the_network_wait_asleep_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    model = packaged.make(tmp_path, random, {"width": 4, "embedding": 6})
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    networks.load(model, "cpu")
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    networks.load(model, "cpu")
    assert os.environ["OMP_WAIT_POLICY"] == "active"
