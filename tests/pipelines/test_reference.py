import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from model_samples import described
from scipy import stats

from fabnet.pretext import random
from pipelines import profile, reference
from pipelines.results.rows import read_all
from stages.reporting import revision
from stages.runtime import config, tables
from stages.runtime.errors import UserError
from stages.training import models

ROOT = Path(__file__).parents[2]
ESTIMATE = {"better": "lower", "ci_low": 8.0, "ci_high": 9.0, "n": 400, "dataset": "w300", "task": "landmarks"}
HEADLINE = {**ESTIMATE, "metric": "interocular_percent", "split": "test", "target": "mean", "positives": None}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A committed project of the profile sample with a small report: landmarks, pose, and a head of `random`."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    profile.use("sample", tmp_path / "profiles", tmp_path / "params.yaml")
    (tmp_path / "docs").mkdir()
    page = "# Table\n\n<!-- results: written -->\nold\n<!-- end of results -->\n\nThe end.\n"
    (tmp_path / reference.PAGE).write_text(page)
    for method in ("fabnet", "fabnet_sources", "random"):
        settings = {"width": 4, "embedding": 6}
        net = models.build(random, random.Params(**settings), seed=0, size_px=32)
        steps = 0 if method == "random" else 700
        models.save(tmp_path / "data" / "models" / f"{method}-0", described("random", settings, steps=steps), net)
        write_parts(tmp_path, method, [])
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "empty"]):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)
    report(tmp_path)
    return tmp_path


def write_parts(root: Path, method: str, parts: Sequence[str]) -> None:
    """Scores of the parts of one method."""
    rows = [{**HEADLINE, "part": part, "value": 8.5, "target": target} for part in parts for target in ("mean", "eyes")]
    path = root / "data" / "metrics" / f"{method}-0" / "parts.parquet"
    tables.write(path, tables.PART_SCORES, rows, key=["part", "target"])


def report(root: Path) -> None:
    """Write the tables of a report that fits the parameters in the project."""
    params = config.load(root / "params.yaml")
    hashes = {"config_hash": config.digest(params), "code_hash": revision.code_hash(root)}
    source = {**hashes, "profile": params.profile, "published": None}
    values = {"fabnet": 8.5, "fabnet_sources": 8.25, "random": 8.75}
    pooled = [{**HEADLINE, **source, "method": name, "seed": None, "value": values[name]} for name in params.methods]
    more = [{"seed": 0}, {"split": "test/common"}, {"target": "eyes"}, {"task": "other", "metric": "f1", "n": 3}]
    leakage = {"dataset": "voxceleb1", "task": "identity_leakage", "metric": "identity_leakage"}
    extra = [{**pooled[0], **change} for change in more[:3]] + [{**row, **leakage} for row in pooled]
    folder, key = root / "data" / "reports", ["dataset", "task", "method", "seed", "split", "metric", "target"]
    tables.write(folder / "metrics.parquet", tables.METRICS, [*pooled, *extra], key=key)
    own = [{**pooled[0], "method": "random", "seed": 0, "value": 8.125}]
    tables.write(folder / "own_heads.parquet", tables.METRICS, own, key=key)
    minus = [
        {
            **ESTIMATE,
            **hashes,
            **task,
            "method": method,
            "control": control,
            "value": 1.0,
            "ci_low": 0.5,
            "ci_high": 2.0,
        }
        for task in ({"metric": "interocular_percent"}, leakage)
        for control in ("random", "fabnet")
        for method in params.methods
        if method != control
    ]
    key = ["dataset", "task", "metric", "control", "method"]
    tables.write(folder / "differences.parquet", tables.DIFFERENCES, minus, key=key)


def call(root: Path, *arguments: str) -> None:
    reference.main(arguments, root)


def test_the_headline_of_every_task_becomes_a_row_with_its_source(project: Path):
    call(project, "write", str(project / "results" / "me-2026-12-01.csv"))
    rows = [placed.row for placed in read_all(project / "results")]
    fitted = [row for row in rows if row.probe != "own_head"]
    assert {(row.dataset, row.method, row.probe) for row in fitted} == {
        (dataset, method, probe)
        for dataset, probe in (("w300", "linear"), ("voxceleb1", "neighbours"))
        for method in ("fabnet", "fabnet_sources", "random")
    }
    (row,) = [row for row in fitted if (row.dataset, row.method) == ("w300", "fabnet_sources")]
    assert (row.value, row.ci_low, row.ci_high, row.n, row.steps, row.size_px) == (8.25, 8.0, 9.0, 400, 700, 32)
    assert row.minus("random") == row.minus("fabnet") == (1.0, 0.5, 2.0)
    assert (row.pack, row.seeds, row.command) == ("synthetic release", "0", "make repro PROFILE=sample")
    assert row.commit == revision.commit(project)
    assert row.config_hash == config.digest(config.load(project / "params.yaml"))


def test_a_head_that_came_with_the_weights_is_a_row_of_its_own_probe_without_differences(project: Path):
    call(project, "write", str(project / "results" / "me.csv"))
    (row,) = [placed.row for placed in read_all(project / "results") if placed.row.probe == "own_head"]
    assert (row.method, row.value, row.minus("random"), row.seeds) == ("random", 8.125, (None, None, None), "0")


def test_parts_of_an_embedding_are_rows_without_differences(project: Path):
    write_parts(project, "fabnet_sources", ["face", "pose"])
    call(project, "write", str(project / "results" / "me.csv"))
    rows = [placed.row for placed in read_all(project / "results") if placed.row.part]
    assert [(row.method, row.part, row.probe, row.value, row.seeds) for row in rows] == [
        ("fabnet_sources", part, "linear", 8.5, "0") for part in ("face", "pose")
    ]
    assert {row.minus("random") for row in rows} == {(None, None, None)}
    call(project, "render")
    assert "| `fabnet_sources`, part `pose` | 700 | 32 | 8.50 [8.00, 9.00] |" in (project / reference.PAGE).read_text()


def write_shots(root: Path, method: str, values: Sequence[float]) -> None:
    """Few-shot values of one method, a draw each."""
    of_task = {"dataset": "w300", "task": "landmarks", "metric": "interocular_percent", "shots": 5}
    rows = [{**of_task, "draw": draw, "value": value} for draw, value in enumerate(values)]
    path = root / "data" / "metrics" / f"{method}-0" / "few_shot.parquet"
    tables.write(path, pa.Table.from_pylist(rows).schema, rows, key=["draw"])


def test_few_shot_values_are_means_over_draws_and_paired_by_draw(project: Path):
    write_shots(project, "fabnet", [10.0, 14.0, 12.0])
    write_shots(project, "fabnet_sources", [9.0, 12.0, 12.0])
    write_shots(project, "random", [10.0, 14.0, 12.0])
    call(project, "write", str(project / "results" / "me.csv"))
    rows = {
        row.method: row for row in (placed.row for placed in read_all(project / "results")) if row.probe == "5-shot"
    }
    row = rows["fabnet_sources"]
    low, high = stats.t.interval(0.95, 2, loc=11, scale=stats.sem([9.0, 12.0, 12.0]))
    assert (row.value, row.n) == (11.0, 3)
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high), rel=1e-5)
    low, high = stats.t.interval(0.95, 2, loc=-1, scale=stats.sem([1.0, 2.0, 0.0]))
    assert row.minus("fabnet") == pytest.approx((-1, low, high), rel=1e-5)
    assert rows["random"].minus("fabnet") == (0.0, 0.0, 0.0)


def test_the_same_report_gives_the_same_bytes(project: Path):
    call(project, "write", str(project / "results" / "me.csv"))
    before = (project / "results" / "me.csv").read_bytes()
    call(project, "write", str(project / "results" / "me.csv"))
    assert (project / "results" / "me.csv").read_bytes() == before


def test_the_page_shows_values_and_differences_between_its_markers(project: Path):
    call(project, "write", str(project / "results" / "me.csv"))
    call(project, "render")
    text = (project / reference.PAGE).read_text()
    assert text.startswith("# Table\n\n<!-- results: written -->\n### synthetic release, probe `linear`\n")
    assert text.endswith("<!-- end of results -->\n\nThe end.\n")
    assert "old" not in text
    assert "| `fabnet_sources` | 700 | 32 | 8.25 [8.00, 9.00] | me, `" in text
    assert "| `fabnet_sources` | 700 | 32 | +1.00 [+0.50, +2.00] ▼ | me, `" in text
    assert "### synthetic release, probe `own_head`" in text
    call(project, "render")
    assert (project / reference.PAGE).read_text() == text


def test_without_rows_the_page_says_so(project: Path):
    call(project, "render")
    assert "<!-- results: written -->\nNo rows yet.\n<!-- end of results -->" in (project / reference.PAGE).read_text()


def test_check_counts_the_rows(project: Path, capsys: pytest.CaptureFixture[str]):
    call(project, "write", str(project / "results" / "me.csv"))
    call(project, "check")
    assert capsys.readouterr().out.endswith("results: 7 rows, all sound\n")


def complaint(root: Path, *more: str, name: str = "results/me.csv") -> str:
    with pytest.raises(UserError) as caught:
        call(root, "write", str(root / name), *more)
    assert "\n" not in str(caught.value)
    assert not (root / "results" / "me.csv").exists()
    return str(caught.value)


def change(root: Path, old: str, new: str) -> None:
    text = (root / "params.yaml").read_text()
    assert old in text
    (root / "params.yaml").write_text(text.replace(old, new, 1))


def test_a_report_of_other_parameters_or_code_is_refused(project: Path):
    change(project, "lr: 0.0004", "lr: 0.0005")
    assert complaint(project, "--command", "x").startswith(
        "data/reports should be of the present parameters and code {'config_hash'"
    )
    report(project)
    (project / "stages").mkdir()
    (project / "stages" / "new.py").write_text("")
    assert complaint(project, "--command", "x").startswith("data/reports should be of the present parameters and code")


def test_code_that_is_not_committed_is_refused(project: Path):
    (project / "stages").mkdir()
    (project / "stages" / "new.py").write_text("")
    report(project)
    assert complaint(project) == (
        "the code behind the results should be committed, found changes in stages/new.py: commit it first"
    )


def test_edited_parameters_need_a_command_and_real_faces_a_pack(project: Path):
    change(project, "source: synthetic, folder: data/releases/300w", "source: folder, folder: data/releases/300w")
    report(project)
    assert complaint(project).startswith("--command should say how to repeat the results")
    assert complaint(project, "--command", "make repro") == (
        "--pack should say which pack of w300 was used, such as '300-W official'"
    )
    call(project, "write", str(project / "results" / "me.csv"), "--command", "make repro", "--pack", "300-W official")
    packs = {(placed.row.dataset, placed.row.pack) for placed in read_all(project / "results")}
    assert packs == {("w300", "300-W official"), ("voxceleb1", "synthetic release")}


def test_what_is_said_at_too_great_length_is_one_sentence(project: Path):
    assert complaint(project, "--command", "make repro\nmake test").startswith(
        "voxceleb1 identity_leakage, fabnet: command: expected 1 to 300 characters in one line, found "
    )


def test_a_report_without_a_control_is_refused(project: Path):
    params = config.load(project / "params.yaml")
    text = (project / "params.yaml").read_text().replace("- fabnet_sources\n- random\n", "- fabnet_sources\n", 1)
    (project / "params.yaml").write_text(text)
    assert params.methods != config.load(project / "params.yaml").methods
    report(project)
    assert complaint(project, "--command", "x") == (
        "methods should name the controls random and fabnet, found no random"
    )


def test_rows_go_into_the_folder_of_results_and_not_twice(project: Path):
    assert complaint(project, name="rows.csv").startswith("the rows should go into results/<who>-<date>.csv, found ")
    call(project, "write", str(project / "results" / "you.csv"))
    assert "the same result is in" in complaint(project, name="results/zoe.csv")
    assert [path.name for path in (project / "results").iterdir()] == ["you.csv"]


def test_the_commands_of_the_page_are_those_that_exist():
    page = (ROOT / reference.PAGE).read_text(encoding="utf-8")
    assert {"write", "check", "render"} == {
        line.split("python -m pipelines.reference ")[1].split()[0].strip("`")
        for line in page.splitlines()
        if line.startswith("python -m pipelines.reference ")
    }
