from pathlib import Path

from stages.reporting import machine
from stages.runtime.stopwatch import Timing

ROOT = Path(__file__).parents[3]


def timing(wall_s: float, device: str = "cpu") -> Timing:
    return Timing(wall_s=wall_s, cpu_s=2 * wall_s, peak_mb=wall_s, device=device, ended=f"2026-11-27T0{wall_s:.0f}")


def test_a_kind_of_stage_sums_times_takes_the_largest_memory_and_the_last_end():
    table = machine.effort({"embed@a-0": timing(5), "embed@b-0": timing(7, "GPU"), "split": timing(1)})
    embed, split = table["kinds"]
    assert (embed["stages"], embed["wall"], embed["cpu"], embed["gpu"]) == (2, "0:00:12", "0:00:24", "0:00:07")
    assert (embed["peak_mb"], embed["devices"], embed["ended"]) == (7, ["GPU", "cpu"], "2026-11-27T07")
    assert (split["name"], split["stages"], split["gpu"]) == ("split", 1, None)
    assert (table["sum"]["stages"], table["sum"]["wall"]) == (3, "0:00:13")
    assert [row["name"] for row in table["stages"]] == ["embed@a-0", "embed@b-0", "split"]


def test_times_of_the_report_and_of_other_data_sets_and_runs_are_left_out():
    timings = {name: timing(1) for name in ("crop@voxceleb1", "embed@fabnet-0", "embed@old-0", "split", "report")}
    text = machine.render(timings, ["voxceleb1", "fabnet-0"], ["numpy"], ROOT)
    shown = [name for name in timings if f'<th scope="row">{name}</th>' in text]
    assert shown == ["crop@voxceleb1", "embed@fabnet-0", "split"]


def test_without_times_the_page_says_why():
    assert "No stage was timed: the results came from a cache" in machine.render({}, [], [], ROOT)
