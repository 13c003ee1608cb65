"""`make remote` on real repositories: what one clone pushes, another one pulls."""

import subprocess
from pathlib import Path

import pytest
import tiny_repository
from tiny_repository import dvc

from pipelines import remote
from pipelines.dvc.remotes import remotes
from stages.runtime.errors import UserError


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_a_clone_pulls_what_was_pushed_and_runs_nothing(tiny_up_to_date, tmp_path):
    git(tiny_up_to_date, "add", "--all")
    git(tiny_up_to_date, "commit", "--quiet", "--message", "made")
    assert ", empty so far (store)" in remote.share(tiny_up_to_date, None)
    dvc(tiny_up_to_date, "push")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(tiny_up_to_date), str(clone))
    store = tmp_path / "tiny_up_to_date-remote"
    assert remote.share(clone, str(store)).startswith(f"{store} is the remote now (store): `dvc push`")
    dvc(clone, "pull")
    assert (clone / "report.html").read_bytes() == (tiny_up_to_date / "report.html").read_bytes()
    assert "Running stage" not in dvc(clone, "repro")
    assert git(clone, "status", "--porcelain") == ""


def test_a_second_time_changes_nothing(tiny):
    remote.share(tiny, None)
    before = (tiny / ".dvc" / "config.local").read_bytes()
    folder = tiny.with_name("tiny-remote")
    for named in (None, str(folder)):
        said = remote.share(tiny, named)
        assert said.startswith(f"{folder} is the remote already (store)")
        assert said.endswith(f"another clone takes part by `make remote FOLDER={folder}`")
    assert (tiny / ".dvc" / "config.local").read_bytes() == before


def test_a_remote_that_is_set_is_left_alone_and_named(tiny, tmp_path):
    dvc(tiny, "remote", "add", "lab", "s3://bucket/faces")
    before = remotes(tiny)
    said = remote.share(tiny, None)
    assert said.startswith("s3://bucket/faces is the remote already (lab): `dvc push --remote lab` sends results there")
    assert said.endswith("another clone takes part by `dvc remote add --default lab s3://bucket/faces`")
    with pytest.raises(UserError, match=r"^the remote lab \(s3://bucket/faces\) is set already and stays: "):
        remote.share(tiny, str(tmp_path / "other"))
    assert remotes(tiny) == before
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("s3://bucket", "FOLDER should be a folder of this machine, found s3://bucket: "),
        ("tiny/store", "tiny/store should lie outside of the project"),
        ("file", "file cannot be the remote"),
        ("file/below", "file/below cannot be the remote"),
        ("photos", "photos should be empty or a remote of DVC, found other files"),
    ],
)
def test_a_folder_that_cannot_be_a_remote_is_a_user_error(tiny, tmp_path, monkeypatch, folder, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UserError) as caught:
        remote.share(tiny, folder)
    assert sentence in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert remotes(tiny) == []


def test_make_passes_the_folder_on():
    command = ["make", "--dry-run", "remote", "FOLDER=/mnt/my store"]
    done = subprocess.run(command, cwd=tiny_repository.ROOT, capture_output=True, text=True, check=True)
    assert "-m pipelines.remote '/mnt/my store'" in done.stdout
