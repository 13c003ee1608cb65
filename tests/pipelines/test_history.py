"""The history of a report, from a real repository with tags, an experiment and an edited workspace."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import report_repository
from report_repository import REPORT, reproduce

from pipelines import history
from pipelines.changes.rows import CHANGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tags first and second, an experiment `shifted`, and a workspace that is as `second`."""
    root = tmp_path_factory.mktemp("reports")
    report_repository.make(root)
    reproduce(root, "exp", "run", "--name", "shifted", "--set-param", "shift=0.05")
    report_repository.git(root, "checkout", "--quiet", "--", ".")
    reproduce(root, "checkout", "--quiet")
    return root


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "copy", symlinks=True))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_rows_that_differ_are_shown_with_intervals_difference_and_verdict(made, capsys):
    assert history.main(["first", "second"], made) == 0
    out = lines(capsys)
    assert "first: profile sample, configuration c0.0, code abc" in out
    assert "w300 · landmarks AUC ↑ fabnet 0.800 [0.780, 0.820] 0.900 [0.880, 0.920] +0.100 better" in out
    assert "w300 · landmarks AUC ↑ random 0.600 [0.580, 0.620] 0.610 [0.590, 0.630] +0.010" in out
    assert "w300 · landmarks AUC ↑ vicreg – 0.700 [0.680, 0.720] new" in out
    assert "3 differences between first and second in 3 rows: 1 are new, 1 better, 1 overlap." in out


def test_one_revision_is_compared_with_the_workspace(made, capsys):
    assert history.main(["second"], made) == 0
    assert lines(capsys)[-1] == "Nothing differs between second and workspace in 3 rows."


def test_all_adds_equal_rows_and_detail_every_target_and_seed(made, capsys):
    history.main(["second", "workspace", "--all"], made)
    assert sum(" = " in f"{line} " for line in lines(capsys)) == 3
    history.main(["first", "second", "--detail"], made)
    out = "\n".join(lines(capsys))
    assert "w300 · landmarks · nose AUC ↑ fabnet" in out
    assert "w300 · landmarks · seed 0 AUC ↑ fabnet" in out


def test_an_experiment_a_commit_and_a_branch_are_revisions_as_well(made, capsys):
    assert history.main(["HEAD~1", "shifted", "main"], made) == 0
    out = lines(capsys)
    assert "shifted: profile sample, configuration c0.05, code abc" in out
    assert any("0.950 [0.930, 0.970] +0.150 better 0.900 [0.880, 0.920] +0.100 better" in line for line in out)


def test_the_table_holds_all_rows_that_differ_and_is_the_same_every_time(made, tmp_path):
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in paths:
        assert history.main(["first", "second", "shifted", "--parquet", str(path)], made) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    table = pq.read_table(paths[0])
    assert table.schema.equals(CHANGES)
    assert table.num_rows == 2 * 3 * 3
    assert set(table["verdict"].to_pylist()) == {"added", "better", "open"}


def test_the_page_is_self_contained(made, tmp_path):
    assert history.main(["first", "second", "--html", str(tmp_path / "page.html")], made) == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<td class="n better">+0.100 better</td>' in text
    assert "<script" not in text
    assert "//" not in text.replace("/* ", "")


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("nonsense", "no revision 'nonsense': expected a commit, tag or branch"),
        ("empty", f"empty has no {REPORT}: nobody ran `dvc repro`"),
    ],
)
def test_a_revision_without_a_report_is_a_user_error(made, capsys, revision, sentence):
    assert history.main([revision, "second"], made) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {sentence}")
    assert error.count("\n") == 1


def test_a_report_outside_the_cache_is_a_user_error_until_a_remote_has_it(repository, tmp_path, capsys):
    reproduce(repository, "remote", "add", "--default", "store", str(tmp_path / "store"))
    shutil.move(repository / ".dvc" / "cache", tmp_path / "cache")
    assert history.main(["first", "second"], repository) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {REPORT} at first is neither in DVC's cache nor in a remote: run `dvc push")
    assert error.count("\n") == 1
    shutil.copytree(
        tmp_path / "cache", tmp_path / "store"
    )  # as `dvc push` lays it out; the tags do not know the remote
    assert history.main(["first", "second"], repository) == 0


def test_a_workspace_without_a_report_is_a_user_error(repository, capsys):
    (repository / REPORT).unlink()
    assert history.main(["second"], repository) == 1
    assert capsys.readouterr().err == f"error: {REPORT} is missing: run `make repro` or `dvc checkout` to make it\n"


def test_a_file_that_is_not_a_report_is_a_user_error(made, capsys):
    assert history.main(["second", "--report", "scores.txt"], made) == 1
    assert capsys.readouterr().err.startswith("error: scores.txt at second is not a Parquet file")


def test_a_folder_without_git_is_a_user_error(tmp_path, capsys):
    assert history.main(["main"], tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
