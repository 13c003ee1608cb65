import subprocess
from pathlib import Path

from markupsafe import Markup

from stages.reporting import machine, revision
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


def test_the_page_names_the_code_its_commit_and_what_is_not_committed(tmp_path: Path):
    def shown() -> str:
        return Markup(machine.render({}, [], [], tmp_path)).striptags()

    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "a.py").write_text("a = 1\n")
    code = revision.code_hash(tmp_path)
    assert f"Made by code {code}, whose commit is unknown, since this is no git checkout." in shown()
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "Add code")):
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)
    commit = revision.commit(tmp_path)
    assert f"Made by code {code}, which is that of commit {commit}." in shown()
    (tmp_path / "stages" / "a.py").write_text("a = 2\n")
    assert f"not that of commit {commit}: 1 file under fabnet/ and stages/ is uncommitted, stages/a.py." in shown()
    (tmp_path / "stages" / "b.py").write_text("b = 2\n")
    assert "2 files under fabnet/ and stages/ are uncommitted, stages/a.py, stages/b.py." in shown()
