"""Faces that are scaled twice for a method are told with what to set."""

from pathlib import Path
from typing import Any

from pipelines import profile
from stages.readiness import sizes
from stages.runtime import config
from stages.runtime.params import Params

SAMPLE = config.parsed(profile.text("sample", Path(__file__).parents[3] / "profiles"), "sample")


def params(methods: list[str], **further_px: list[int]) -> Params:
    stages: dict[str, Any] = {
        name: getattr(SAMPLE, name).model_copy(update={"further_px": sides}) for name, sides in further_px.items()
    }
    return SAMPLE.model_copy(update={"methods": methods, **stages})


def test_a_method_of_another_size_is_told_with_the_stages_that_can_store_it():
    assert list(sizes.scaled_twice(params(["fabnet", "vgg_face"]))) == [
        "params.yaml: vgg_face sees 224 px, to which faces are scaled from their stored size, so twice: add 224 to "
        "detect.further_px and index.further_px to scale them once"
    ]
    (sentence,) = sizes.scaled_twice(params(["vgg_face"], detect=[224]))
    assert "add 224 to index.further_px to scale" in sentence


def test_nothing_is_told_where_the_size_is_stored_or_the_method_has_none():
    assert not list(sizes.scaled_twice(params(["vgg_face"], detect=[224], index=[112, 224])))
    assert not list(sizes.scaled_twice(params(["fabnet", "released", "random"])))
