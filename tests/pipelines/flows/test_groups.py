from pipelines.dvc import graph
from pipelines.flows import groups
from stages.runtime import plugins


def test_every_stage_of_the_project_has_a_group():
    from tiny_repository import ROOT

    assert [stage.name for stage in graph.ordered(ROOT) if not groups.group_of(stage.name)] == []


def test_a_group_names_stages_that_exist():
    kinds = {kind for kinds in groups.GROUPS.values() for kind in kinds} - {"package"}
    assert kinds <= set(plugins.names("stages"))


def test_only_stages_that_train_have_the_tag_of_the_gpu():
    assert list(groups.tags("refine@fabnet_sources-0")) == ["refine", "train", groups.GPU]
    assert list(groups.tags("crop@voxceleb1")) == ["crop", "prepare"]


def test_the_run_graph_shows_group_and_stage():
    assert groups.shown_name("crop@voxceleb1") == "prepare: crop@voxceleb1"
    assert groups.shown_name("of_a_user") == "of_a_user"
