"""The history of a report, from a real repository with tags, an experiment and an edited workspace."""

import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import report_repository
from report_repository import REPORT, reproduce

from pipelines import history
from pipelines.changes.rows import CHANGES
from stages.runtime.errors import UserError

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
    history.main(["first", "second"], made)
    out = lines(capsys)
    assert "first: profile sample, configuration c0.0, code abc" in out
    assert "w300 · landmarks AUC ↑ fabnet 0.800 [0.780, 0.820] 0.900 [0.880, 0.920] +0.100 better" in out
    assert "w300 · landmarks AUC ↑ random 0.600 [0.580, 0.620] 0.610 [0.590, 0.630] +0.010" in out
    assert "w300 · landmarks AUC ↑ vicreg – 0.700 [0.680, 0.720] new" in out
    assert "3 differences between first and second in 3 rows: 1 are new, 1 better, 1 overlap." in out


def test_one_revision_is_compared_with_the_workspace(made, capsys):
    history.main(["second"], made)
    assert lines(capsys)[-1] == "Nothing differs between second and workspace in 3 rows."


def test_all_shows_what_is_the_same_and_detail_every_target_and_seed(made, capsys):
    history.main(["second", "workspace", "--all"], made)
    assert sum(" = " in f"{line} " for line in lines(capsys)) == 3
    history.main(["first", "second", "--detail"], made)
    out = "\n".join(lines(capsys))
    assert "w300 · landmarks · nose AUC ↑ fabnet" in out
    assert "w300 · landmarks · seed 0 AUC ↑ fabnet" in out


def test_an_experiment_a_commit_and_a_branch_are_revisions_as_well(made, capsys):
    history.main(["HEAD~1", "shifted", "main"], made)
    out = lines(capsys)
    assert "shifted: profile sample, configuration c0.05, code abc" in out
    assert any("0.950 [0.930, 0.970] +0.150 better 0.900 [0.880, 0.920] +0.100 better" in line for line in out)


def test_the_table_holds_all_rows_that_differ_and_is_the_same_every_time(made, tmp_path):
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in paths:
        history.main(["first", "second", "shifted", "--parquet", str(path)], made)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    table = pq.read_table(paths[0])
    assert table.schema.equals(CHANGES)
    assert table.num_rows == 2 * 3 * 3
    assert set(table["verdict"].to_pylist()) == {"added", "better", "open"}


def test_the_page_needs_nothing_but_itself(made, tmp_path):
    history.main(["first", "second", "--html", str(tmp_path / "page.html")], made)
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
def test_a_revision_without_a_report_is_a_user_error(made, revision, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        history.main([revision, "second"], made)


def test_a_report_that_no_cache_holds_is_a_user_error_until_a_remote_has_it(repository, tmp_path):
    reproduce(repository, "remote", "add", "--default", "store", str(tmp_path / "store"))
    shutil.move(repository / ".dvc" / "cache", tmp_path / "cache")
    missing = f"{REPORT} at first is neither in DVC's cache nor in a remote: run `dvc push"
    with pytest.raises(UserError, match=re.escape(missing)):
        history.main(["first", "second"], repository)
    shutil.copytree(
        tmp_path / "cache", tmp_path / "store"
    )  # as `dvc push` lays it out; the tags do not know the remote
    history.main(["first", "second"], repository)


def test_a_workspace_without_a_report_is_a_user_error(repository):
    (repository / REPORT).unlink()
    with pytest.raises(UserError, match=f"{REPORT} is missing: run `make repro` or `dvc checkout` to make it"):
        history.main(["second"], repository)


def test_a_file_that_is_not_a_report_is_a_user_error(made):
    with pytest.raises(UserError, match=r"scores\.txt at second is not a Parquet file"):
        history.main(["second", "--report", "scores.txt"], made)


def test_a_folder_without_git_is_a_user_error(tmp_path):
    with pytest.raises(UserError):
        history.main(["main"], tmp_path)
