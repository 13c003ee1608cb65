import dataclasses
import inspect

import pytest

from stages.runtime import plugins

NAMES = plugins.names("stages.synthetic")


@pytest.mark.parametrize("name", NAMES)
def test_every_publisher_has_frozen_settings_and_writes_into_a_folder_from_a_seed(name: str):
    module = plugins.load("stages.synthetic", name)
    assert dataclasses.is_dataclass(module.Params)
    assert module.Params.__dataclass_params__.frozen
    signature = inspect.signature(module.publish)
    assert list(signature.parameters) == ["folder", "params", "seed"]
    assert signature.parameters["seed"].kind is inspect.Parameter.KEYWORD_ONLY


def test_every_synthetic_data_set_has_a_reader():
    assert set(NAMES) <= set(plugins.names("stages.datasets"))
