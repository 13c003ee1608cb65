"""Every profile is a complete parameter set, and states only what differs from its base."""

from collections.abc import Iterator
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from pipelines import profile
from pipelines.parameters import edits
from stages.runtime import config

ROOT = Path(__file__).parents[1]
PROFILES = ROOT / "profiles"
NAMES = profile.names(PROFILES)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}")
    else:
        yield name, value


def content(text: str) -> Any:
    return YAML(typ="safe").load(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_complete_and_holds_its_own_name(name):
    params = config.check_plugins(config.parsed(profile.text(name, PROFILES), name))
    assert params.profile == name


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_states_only_what_differs_from_its_base(name):
    own = content((PROFILES / f"{name}.yaml").read_text(encoding="utf-8"))
    if base := own.pop(profile.BASE, None):
        inherited = dict(leaves(content(profile.text(base, PROFILES))))
        assert [key for key, value in leaves(own) if inherited[key] == value] == []


def test_every_method_that_needs_no_weights_is_in_the_study():
    study = content(profile.text("study", PROFILES))
    assert set(study["methods"]) == {name for name, settings in study["method"].items() if "weights" not in settings}


def test_the_study_is_the_sample_with_more_methods_and_fewer_steps():
    own = content((PROFILES / "study.yaml").read_text(encoding="utf-8"))
    assert own.pop(profile.BASE) == "sample"
    assert set(own) == {"profile", "methods", "pretrain", "perturb"}
    assert set(own["pretrain"]) == {"epochs", "checkpoint_epochs"}


@pytest.mark.parametrize("name", NAMES)
def test_dvc_changes_the_line_of_a_setting_and_no_other(name, tmp_path):
    """As `dvc exp run --set-param` does before it runs anything."""
    text, path = profile.text(name, PROFILES), tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    apply_overrides(path, ["pretrain.val_samples=9", "probe.l2=[0.5]"])
    before, after = text.splitlines(), path.read_text(encoding="utf-8").splitlines()
    changed = [line for line in ndiff(before, after) if not line.startswith((" ", "?"))]
    values = [f"-   - {value}" for value in ("1.0e-4", "1.0e-3", "1.0e-2", "1.0e-1", "1.0", "10.0", "100.0", "1000.0")]
    assert changed[0].startswith("-   val_samples: ")
    assert changed[1] == "+   val_samples: 9"
    assert sorted(changed[2:]) == sorted([*values, "+   - 0.5"])


@pytest.mark.parametrize("name", NAMES)
def test_what_a_person_changes_through_this_project_is_written_as_dvc_writes_it(name, tmp_path):
    values = {"methods": ["pca", "random"], "method.own.weights": "a folder/file.pt", "pretrain.fused": True}
    text = edits.with_lists(edits.replaced(profile.text(name, PROFILES), values))
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    apply_overrides(path, ["seed=7"])
    assert path.read_text(encoding="utf-8") == text


def test_params_yaml_is_a_profile():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text in [profile.text(name, PROFILES) for name in NAMES]
