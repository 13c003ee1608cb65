from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from stages.runtime import plugins
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Params:
    width: int
    rate: float


MODULE = SimpleNamespace(Params=Params)


def test_names_are_the_modules_of_a_package():
    assert {"affectnet", "voxceleb1", "voxceleb2", "w300"} <= set(plugins.names("stages.datasets"))
    assert {"fabnet", "random"} <= set(plugins.names("fabnet.pretext"))


def test_a_new_file_is_a_new_member(tmp_path, monkeypatch):
    package = tmp_path / "some_plugins"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "late.py", "early.py", "inner/__init__.py"):
        (package / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert plugins.names("some_plugins") == ["early", "late"]
    assert plugins.load("some_plugins", "late").__name__ == "some_plugins.late"


def test_the_error_for_an_unknown_module_lists_the_known_ones():
    with pytest.raises(UserError, match=r"no module 'lion' in fabnet.pretext: expected one of .*fabnet.*random"):
        plugins.load("fabnet.pretext", "lion")


def test_settings_become_the_plain_class_of_the_module():
    assert plugins.settings(MODULE, {"width": 8, "rate": 0.5}, "method.x") == Params(width=8, rate=0.5)
    assert type(plugins.settings(MODULE, {"width": 8, "rate": 0.5}, "method.x")) is Params


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"width": 8, "rate": 0.5, "widht": 9}, "method.x.widht is not a known parameter"),
        ({"width": 8}, "method.x.rate is missing"),
        ({"width": "8", "rate": 0.5}, "method.x.width should be a valid integer, found '8'"),
        ({"width": 8.5, "rate": 0.5}, "method.x.width should be a valid integer, found 8.5"),
        ({"width": True, "rate": 0.5}, "method.x.width should be a valid integer, found True"),
    ],
)
def test_the_error_for_a_wrong_setting_lists_the_known_ones(values, expected):
    with pytest.raises(UserError) as refused:
        plugins.settings(MODULE, values, "method.x")
    assert expected in str(refused.value)
    assert "keys of method.x: width, rate" in str(refused.value)


def test_settings_that_the_module_refuses_are_a_user_error():
    module = SimpleNamespace(Params=Params, problem=lambda params: f"width is odd: {params.width}" * (params.width % 2))
    assert plugins.settings(module, {"width": 8, "rate": 0.5}, "method.x").width == 8
    with pytest.raises(UserError, match=r"^params\.yaml: method\.x: width is odd: 7$"):
        plugins.settings(module, {"width": 7, "rate": 0.5}, "method.x")
