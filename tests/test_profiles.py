"""Profiles are complete parameter sets with the same keys; params.yaml is one of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.runtime import config

ROOT = Path(__file__).parents[1]
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def keys(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{name}.{key}"
            yield from keys(inner, f"{name}.{key}")


def content(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def test_there_are_four_profiles():
    assert [path.stem for path in PROFILES] == ["paper", "sample", "small", "study"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_accepted_and_bears_its_own_name(path):
    assert config.check(path).profile == path.stem


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profiles_have_the_same_keys_in_the_same_order(path):
    assert list(keys(content(path))) == list(keys(content(ROOT / "profiles" / "sample.yaml")))


def test_every_method_that_needs_no_weights_is_in_the_study():
    study = content(ROOT / "profiles" / "study.yaml")
    assert set(study["methods"]) == {name for name, settings in study["method"].items() if "weights" not in settings}


def test_the_study_is_the_sample_with_more_methods():
    study, sample = (content(ROOT / "profiles" / f"{name}.yaml") for name in ("study", "sample"))
    assert {key for key in study if study[key] != sample[key]} == {"profile", "methods", "pretrained"}


def test_params_yaml_is_a_copy_of_a_profile():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text in [path.read_text(encoding="utf-8") for path in PROFILES]
