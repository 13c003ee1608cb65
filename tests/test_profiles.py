"""Every profile is a complete parameter set, and states only what differs from its base."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines import profile
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


def test_the_study_is_the_sample_with_more_methods():
    own = content((PROFILES / "study.yaml").read_text(encoding="utf-8"))
    assert own.pop(profile.BASE) == "sample"
    assert set(own) == {"profile", "methods"}


def test_params_yaml_is_a_profile():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text in [profile.text(name, PROFILES) for name in NAMES]
