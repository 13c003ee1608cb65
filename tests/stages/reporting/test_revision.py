import shutil
import subprocess
from pathlib import Path

import pytest

from stages.reporting.revision import code_hash, commit, uncommitted


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "fabnet").mkdir(parents=True)
    (root / "stages").mkdir()
    (root / "fabnet" / "a.py").write_text("a = 1\n")
    (root / "README.md").write_text("one\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "Add code")
    return root


def test_the_same_code_has_the_same_hash_in_every_folder_and_commit(checkout: Path, tmp_path: Path):
    first = code_hash(checkout)
    assert len(first) == 12
    (checkout / "README.md").write_text("two\n")
    (checkout / "fabnet" / "a.pyc").write_text("compiled\n")
    git(checkout, "commit", "-q", "-a", "-m", "Change a document")
    assert code_hash(checkout) == first
    shutil.copytree(checkout, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    assert code_hash(tmp_path / "copy") == first


@pytest.mark.parametrize("change", ["content", "name", "new file"])
def test_other_code_has_another_hash(change: str, checkout: Path):
    first, path = code_hash(checkout), checkout / "fabnet" / "a.py"
    if change == "content":
        path.write_text("a = 2\n")
    elif change == "name":
        path.rename(path.with_name("b.py"))
    else:
        (checkout / "stages" / "page.html").write_text("<p>\n")
    assert code_hash(checkout) != first


def test_a_commit_is_named_with_the_files_of_the_code_that_differ_from_it(checkout: Path):
    head = git(checkout, "rev-parse", "HEAD")[:12]
    (checkout / "README.md").write_text("two\n")
    assert (commit(checkout), uncommitted(checkout)) == (head, [])
    (checkout / "fabnet" / "a.py").write_text("a = 2\n")
    (checkout / "stages" / "b.html").write_text("<p>\n")
    (checkout / "stages" / "b.pyc").write_text("compiled\n")
    assert (commit(checkout), uncommitted(checkout)) == (head, ["fabnet/a.py", "stages/b.html"])


def test_a_commit_that_is_unknown_comes_with_the_reason(tmp_path: Path, checkout: Path, monkeypatch):
    assert (commit(tmp_path), uncommitted(tmp_path)) == ("unknown, since this is no git checkout", [])
    git(tmp_path, "init", "-q", "new")
    assert commit(tmp_path / "new") == "unknown, since there is no commit yet"
    monkeypatch.setenv("PATH", "")
    assert commit(checkout).startswith("unknown, since git cannot be run (")


def test_a_folder_of_another_user_is_named_with_the_way_out(checkout: Path, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    assert commit(checkout) == (
        "unknown, since git refuses this folder, which belongs to another user: "
        f"`git config --global --add safe.directory '{checkout}'` allows it"
    )
