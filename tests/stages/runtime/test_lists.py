"""The lists of params.yaml follow from `methods`, `datasets` and the modules alone."""

from pathlib import Path
from typing import Any

import pytest

from pipelines import profile
from stages.runtime import config, lists, plugins
from stages.runtime.errors import UserError
from stages.runtime.params import Params, Settings

PARAMS = config.parsed(profile.text("study", Path(__file__).parents[3] / "profiles"), "study")


def with_lists(**changes: Any) -> Params:
    return PARAMS.model_copy(update={"lists": PARAMS.lists.model_copy(update=changes)})


def settings(**changes: Any) -> Settings:
    return PARAMS.model_copy(update=changes)


def test_the_order_of_methods_and_data_sets_changes_no_list():
    turned = settings(methods=PARAMS.methods[::-1], datasets=PARAMS.datasets[::-1])
    assert lists.derived(turned) == PARAMS.lists


def test_what_is_taken_off_is_in_no_list():
    found = lists.derived(settings(methods=["fabnet"], datasets=["voxceleb2", "w300", "own_videos"])).model_dump()
    assert found == {
        "track_sets": ["own_videos", "voxceleb2"], "cropped_sets": ["voxceleb2"], "video_sets": ["own_videos"],
        "detected_sets": [], "boxed_sets": ["w300"], "followed": ["w300"],
        "pretrained": ["fabnet"], "refined": [],
    }  # fmt: skip


def test_lists_may_hold_more_methods_than_run():
    more = with_lists(pretrained=[*PARAMS.lists.pretrained, "own"])
    lists.check(more)
    assert config.digest(more) == config.digest(PARAMS)


@pytest.mark.parametrize("changes", [{"followed": []}, {"followed": ["aflw", "mafl", "w300"]}, {"refined": []}])
def test_other_lists_are_refused_with_the_command_that_rewrites_them(changes):
    with pytest.raises(UserError, match="run `make profile`, which rewrites `lists`"):
        lists.check(with_lists(**changes))


def test_a_data_set_that_does_not_say_its_kind_is_named(monkeypatch):
    monkeypatch.delattr(plugins.load("stages.datasets", "w300"), "KIND")
    with pytest.raises(
        UserError, match=r"stages/datasets/w300\.py: KIND should be one of track, video, detected, boxed, found None"
    ):
        lists.derived(PARAMS)
