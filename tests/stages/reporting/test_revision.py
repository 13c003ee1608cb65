import subprocess
from pathlib import Path

import pytest

from stages.reporting.revision import code_rev


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "fabnet").mkdir()
    (tmp_path / "stages").mkdir()
    (tmp_path / "fabnet" / "a.py").write_text("a = 1\n")
    (tmp_path / "README.md").write_text("one\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Add code")
    return tmp_path


def test_commits_beside_the_code_do_not_change_the_answer(checkout: Path):
    first = code_rev(checkout)
    assert git(checkout, "rev-parse", "HEAD").startswith(first)
    (checkout / "README.md").write_text("two\n")
    assert code_rev(checkout) == first
    git(checkout, "commit", "-q", "-a", "-m", "Change a document")
    assert code_rev(checkout) == first


def test_changed_code_is_marked(checkout: Path):
    first = code_rev(checkout)
    (checkout / "fabnet" / "a.py").write_text("a = 2\n")
    assert code_rev(checkout) == f"{first}+dirty"


def test_a_folder_outside_git_is_unknown(tmp_path: Path):
    assert code_rev(tmp_path) == "unknown"
