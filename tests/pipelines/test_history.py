"""The history of a report, from real repositories: tags in git, results in DVC, an experiment, a workspace."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import report_repository
from pyarrow import csv
from report_repository import REPORT, dvc

from pipelines import history
from pipelines.changes.rows import CHANGES
from stages.evaluation import scores
from stages.runtime import command, tables


@pytest.fixture(scope="module")
def in_git(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tags first, shifted and second, and a workspace that is as `second`."""
    root = tmp_path_factory.mktemp("in_git")
    report_repository.make_in_git(root)
    return root


@pytest.fixture(scope="module")
def in_dvc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tags empty and first, and an experiment `shifted`."""
    root = tmp_path_factory.mktemp("in_dvc")
    report_repository.make_in_dvc(root)
    return root


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def run(arguments: list[str], root: Path) -> int:
    """Exit status of the command line."""
    return command.guarded(lambda: history.main(arguments, root))


def assert_one_sentence(capsys: pytest.CaptureFixture[str], start: str) -> None:
    error = capsys.readouterr().err
    assert error.startswith(f"error: {start}")
    assert error.count("\n") == 1


def test_rows_that_differ_are_shown_with_intervals_difference_and_verdict(in_git, capsys):
    assert run(["first", "second"], in_git) == 0
    out = lines(capsys)
    assert "first: profile sample, configuration c0.0, code abc" in out
    assert "w300 · landmarks AUC ↑ fabnet 0.800 [0.780, 0.820] 0.900 [0.880, 0.920] +0.100 better" in out
    assert "w300 · landmarks AUC ↑ random 0.600 [0.580, 0.620] 0.610 [0.590, 0.630] +0.010" in out
    assert "w300 · landmarks AUC ↑ vicreg – 0.700 [0.680, 0.720] new" in out
    assert "3 differences between first and second in 3 rows: 1 are new, 1 better, 1 overlap." in out


def test_one_revision_is_compared_with_the_workspace(in_git, capsys):
    assert run(["second"], in_git) == 0
    assert lines(capsys)[-1] == "Nothing differs between second and workspace in 3 rows."


def test_all_shows_what_is_the_same_and_detail_every_target_and_seed(in_git, capsys):
    run(["second", "workspace", "--all"], in_git)
    assert sum(" = " in f"{line} " for line in lines(capsys)) == 3
    run(["first", "second", "--detail"], in_git)
    out = "\n".join(lines(capsys))
    assert "w300 · landmarks · nose AUC ↑ fabnet" in out
    assert "w300 · landmarks · seed 0 AUC ↑ fabnet" in out


def test_a_commit_and_a_branch_are_revisions_as_well(in_git, capsys):
    assert run(["HEAD~2", "shifted", "main"], in_git) == 0
    out = lines(capsys)
    assert "shifted: profile sample, configuration c0.05, code abc" in out
    assert any("0.950 [0.930, 0.970] +0.150 better 0.900 [0.880, 0.920] +0.100 better" in line for line in out)


@pytest.mark.slow
def test_an_experiment_of_dvc_is_a_revision_as_well(in_dvc, capsys):
    assert run(["first", "shifted"], in_dvc) == 0
    out = lines(capsys)
    assert "shifted: profile sample, configuration c0.05, code abc" in out
    assert any("0.800 [0.780, 0.820] 0.850 [0.830, 0.870] +0.050 better" in line for line in out)


def test_the_table_holds_all_rows_that_differ_and_is_the_same_every_time(in_git, tmp_path):
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in paths:
        assert run(["first", "second", "shifted", "--parquet", str(path)], in_git) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    table = pq.read_table(paths[0])
    assert table.schema.equals(CHANGES)
    assert table.num_rows == 2 * 3 * 3
    assert set(table["verdict"].to_pylist()) == {"added", "better", "open"}


def test_a_csv_holds_the_rows_of_the_table(in_git, tmp_path):
    files = [f"--{kind}={tmp_path / f'changes.{kind}'}" for kind in ("parquet", "csv")]
    assert run(["first", "second", "shifted", *files], in_git) == 0
    options = csv.ConvertOptions(column_types=CHANGES, strings_can_be_null=True)
    found = csv.read_csv(tmp_path / "changes.csv", convert_options=options)
    assert found.to_pylist() == pq.read_table(tmp_path / "changes.parquet").to_pylist()


def test_the_page_needs_nothing_but_itself(in_git, tmp_path):
    assert run(["first", "second", "--html", str(tmp_path / "page.html")], in_git) == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<td class="n better">+0.100 better</td>' in text
    assert "<script" not in text
    assert "//" not in text.replace("/* ", "")


def test_a_report_of_schema_version_1_is_compared_by_its_old_column_names(in_git, tmp_path, capsys):
    root = Path(shutil.copytree(in_git, tmp_path / "copy"))
    old = {"split": "part", "code_hash": "code_rev"}
    table = pq.read_table(root / REPORT)
    pq.write_table(table.rename_columns([old.get(name, name) for name in table.column_names]), root / REPORT)
    assert run(["second"], root) == 0
    assert lines(capsys)[-1] == "Nothing differs between second and workspace in 3 rows."


def test_a_report_without_later_columns_and_names_is_compared(in_git, tmp_path, capsys):
    root = Path(shutil.copytree(in_git, tmp_path / "copy"))
    rows = tables.read(root / REPORT, tables.METRICS).to_pylist()
    former = {"task": "identity", "metric": "identity_recall"}
    for names, lacks in ((former, ["better", "positives"]), (dict.fromkeys(former, scores.IDENTITY), [])):
        renamed = [row | names for row in rows if row["metric"] == "auc"]
        tables.write(root / REPORT, tables.METRICS, renamed, key=["method", "metric", "seed", "target"])
        pq.write_table(pq.read_table(root / REPORT).drop_columns(lacks), root / REPORT)
        report_repository.git(root, "commit", "--quiet", "--all", "--message", names["task"])
    assert run(["HEAD~1", "HEAD"], root) == 0
    assert lines(capsys)[-1] == "Nothing differs between HEAD~1 and HEAD in 3 rows."


def test_a_name_that_is_not_a_revision_is_a_user_error(in_git, capsys):
    assert run(["nonsense", "second"], in_git) == 1
    assert_one_sentence(capsys, "no revision 'nonsense': expected a commit, tag or branch")


@pytest.mark.slow
def test_a_revision_before_the_first_run_is_a_user_error(in_dvc, capsys):
    assert run(["empty", "first"], in_dvc) == 1
    assert_one_sentence(capsys, f"empty has no {REPORT}: nobody ran `dvc repro`")


@pytest.mark.slow
def test_a_report_that_no_cache_holds_is_a_user_error_until_a_remote_has_it(in_dvc, tmp_path, capsys):
    root, store = Path(shutil.copytree(in_dvc, tmp_path / "copy", symlinks=True)), tmp_path / "store"
    dvc(root, "remote", "add", "--default", "store", str(store))
    shutil.move(root / ".dvc" / "cache", tmp_path / "cache")
    assert run(["first", "workspace"], root) == 1
    assert_one_sentence(capsys, f"{REPORT} at first is neither in DVC's cache nor in a remote: run `dvc push")
    shutil.copytree(tmp_path / "cache", store)  # as `dvc push` lays it out; the tags do not know the remote
    assert run(["first", "workspace"], root) == 0


def test_a_workspace_without_a_report_is_a_user_error(in_git, tmp_path, capsys):
    root = Path(shutil.copytree(in_git, tmp_path / "copy"))
    (root / REPORT).unlink()
    assert run(["second"], root) == 1
    assert capsys.readouterr().err == f"error: {REPORT} is missing: run `make repro` or `dvc checkout` to make it\n"


def test_a_file_that_is_not_a_report_is_a_user_error(in_git, capsys):
    assert run(["second", "--report", "scores.txt"], in_git) == 1
    assert capsys.readouterr().err.startswith("error: scores.txt at second is not a Parquet file")


def test_a_folder_without_git_is_a_user_error(tmp_path, capsys):
    assert run(["main"], tmp_path) == 1
    assert_one_sentence(capsys, "")
