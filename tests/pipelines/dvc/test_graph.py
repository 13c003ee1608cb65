import pytest
from tiny_repository import SCORES, dvc

from pipelines.dvc import graph
from pipelines.running.processes import Processes
from stages.runtime.errors import UserError

EDGES = {
    "fetch@x": (),
    "fetch@y": (),
    "fragile": ("fetch@x",),
    "report": ("solid",),
    "solid": ("fetch@y",),
    "tail": ("fragile",),
}


def run(root, stage):
    lines: list[str] = []
    return graph.bring_up_to_date(root, stage, Processes(1), lines.append), lines


def test_edges_are_those_of_dvc(tiny):
    assert {stage.name: stage.upstream for stage in graph.ordered(tiny)} == EDGES


def test_every_stage_comes_after_its_upstreams(tiny):
    names = [stage.name for stage in graph.ordered(tiny)]
    assert all(names.index(upstream) < names.index(name) for name in names for upstream in EDGES[name])


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["tail"], {"tail", "fragile", "fetch@x"}),
        (["fetch"], {"fetch@x", "fetch@y"}),
        (["fetch@y", "solid"], {"fetch@y", "solid"}),
    ],
)
def test_targets_include_what_they_need(tiny, targets, expected):
    assert {stage.name for stage in graph.ordered(tiny, targets)} == expected


def test_an_unknown_target_is_an_error_that_lists_the_stages(tiny):
    with pytest.raises(UserError, match="no stage 'crop': expected one of fetch, fragile, report, solid, tail"):
        graph.ordered(tiny, ["crop"])


def test_a_stage_runs_once_and_is_then_unchanged(tiny):
    outcome, lines = run(tiny, "fetch@x")
    assert outcome == "ran"
    assert "Running stage 'fetch@x':" in lines
    assert run(tiny, "fetch@x")[0] == "unchanged"


def test_a_result_from_the_cache_of_dvc_is_restored(tiny_up_to_date):
    (tiny_up_to_date / "dvc.lock").unlink()
    (tiny_up_to_date / "tail.txt").unlink()
    assert run(tiny_up_to_date, "tail")[0] == "restored"
    assert (tiny_up_to_date / "tail.txt").exists()


def test_threads_of_a_stage_leave_the_cores_to_the_stages_beside_it(tiny_up_to_date, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    (tiny_up_to_date / "solid.sh").write_text('echo "threads: $OMP_WAIT_POLICY" && cp raw/y solid.txt\n')
    assert "threads: passive" in run(tiny_up_to_date, "solid")[1]


def test_stages_are_changed_until_they_ran_and_when_an_input_is_edited(tiny, tiny_up_to_date):
    assert graph.changed(tiny) == set(EDGES)
    assert graph.changed(tiny_up_to_date) == set()
    (tiny_up_to_date / "switch").write_text("work on")
    assert graph.changed(tiny_up_to_date) == {"fragile"}


def test_the_error_of_a_failing_stage_is_its_own_sentence(tiny):
    run(tiny, "fetch@x")
    (tiny / "switch").write_text("break")
    with pytest.raises(
        graph.StageError, match=r"^error: the release should hold 3 parts, found 2: copy the missing one$"
    ):
        run(tiny, "fragile")


def test_an_error_of_several_lines_is_kept_whole(tiny):
    run(tiny, "fetch@x")
    (tiny / "fragile.sh").write_text("echo 'error: w300: no release' >&2; echo 'error: disk: full' >&2; exit 1")
    with pytest.raises(graph.StageError, match=r"^error: w300: no release; disk: full$"):
        run(tiny, "fragile")


def test_metrics_are_what_dvc_tracks(tiny, tiny_up_to_date):
    assert graph.metrics(tiny) == {}
    assert graph.metrics(tiny_up_to_date) == {f"metrics/{method}.json": values for method, values in SCORES.items()}


def test_dvc_shows_metrics_as_a_table_of_methods_and_tasks(tiny_up_to_date):
    assert [line.split() for line in dvc(tiny_up_to_date, "metrics", "show").splitlines()] == [
        ["Path", "mafl.landmarks", "w300.landmarks"],
        ["metrics/fabnet.json", "3.5", "5.5"],
        ["metrics/random.json", "8.25", "9.0"],
    ]


def test_a_broken_graph_is_a_user_error(tiny):
    (tiny / "dvc.yaml").write_text("stages: {a: {cmd: true, otus: [b]}}")
    for read in (graph.ordered, graph.changed):
        with pytest.raises(UserError, match=r"dvc\.yaml' validation failed: .*otus"):
            read(tiny)


def test_a_folder_without_dvc_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="DVC cannot read the pipeline"):
        graph.ordered(tmp_path)
