from pathlib import Path

from dvc.repo import Repo

from stages.reporting import effort
from stages.runtime import config
from stages.runtime.stopwatch import Timing

ROOT = Path(__file__).parents[3]


def timing(wall_s: float, device: str = "cpu") -> Timing:
    return Timing(wall_s=wall_s, cpu_s=2 * wall_s, peak_mb=wall_s, device=device, ended=f"2026-11-27T0{wall_s:.0f}")


def test_the_stages_are_those_of_the_graph_but_for_the_report():
    with Repo(str(ROOT)) as repo:
        graph = {stage.addressing for stage in repo.index.stages}
    assert set(effort.stages(config.load(ROOT / "params.yaml"))) == graph - {"report"}


def test_a_kind_of_stage_sums_times_takes_the_largest_memory_and_the_last_end():
    names = ["embed@a-0", "embed@b-0", "embed@c-0", "split"]
    table = effort.table(names, {"embed@a-0": timing(5), "embed@b-0": timing(7, "GPU"), "old@a": timing(1)})
    embed, split = table["kinds"]
    assert (embed["timed"], embed["stages"], embed["wall"], embed["cpu"], embed["gpu"]) == (
        2,
        3,
        "0:00:12",
        "0:00:24",
        "0:00:07",
    )
    assert (embed["peak_mb"], embed["devices"], embed["ended"]) == (7, ["GPU", "cpu"], "2026-11-27T07")
    assert (split["timed"], split["stages"]) == (0, 1)
    assert table["sum"]["wall"] == "0:00:12"
    assert table["missing"] == 2
    assert [row["name"] for row in table["stages"]] == ["embed@a-0", "embed@b-0"]
