from pathlib import Path

import pytest

from stages.runtime.errors import UserError
from stages.storage import journals


def test_the_fingerprint_depends_on_every_ingredient(tmp_path):
    base = journals.folder(tmp_path, "crop", "voxceleb1", "a", b"b")
    assert base == journals.folder(tmp_path, "crop", "voxceleb1", "a", "b")
    assert base.parent == tmp_path / "crop" / "voxceleb1"
    others = [("a", "c"), ("ab",), ("a", "b", "")]
    assert len({base, *(journals.folder(tmp_path, "crop", "voxceleb1", *some) for some in others)}) == 4


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A result of an earlier run."""
    (tmp_path / "data" / "out").mkdir(parents=True)
    (tmp_path / "data" / "out" / "old").touch()
    return tmp_path / "data" / "out"


def write(out: Path, journal: Path, *, fail: bool = False) -> None:
    with journals.unfinished(journal, out) as whole:
        whole.mkdir(parents=True, exist_ok=True)
        (whole / "new").touch()
        if fail:
            raise KeyboardInterrupt


def test_the_result_replaces_an_older_one_and_removes_its_journals(tmp_path, out):
    outdated = tmp_path / "crop" / "w300" / "2"
    outdated.mkdir(parents=True)
    write(out, tmp_path / "crop" / "w300" / "1")
    assert [path.name for path in out.iterdir()] == ["new"]
    assert list((tmp_path / "crop").iterdir()) == []


def test_a_second_run_at_the_same_time_is_a_user_error_and_harms_nothing(tmp_path, out):
    first, second = (tmp_path / "crop" / "w300" / name for name in "12")
    with journals.unfinished(first, out) as whole:
        whole.mkdir(parents=True)
        (whole / "new").touch()
        with pytest.raises(UserError, match=r"another run works in .*w300: wait"):
            write(out, second)
    assert [path.name for path in out.iterdir()] == ["new"]


def test_a_stopped_run_keeps_its_journal_and_the_old_result(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    with pytest.raises(KeyboardInterrupt):
        write(out, journal, fail=True)
    assert [path.name for path in out.iterdir()] == ["old"]
    assert (journal / journals.WHOLE / "new").exists()
    write(out, journal)
    assert [path.name for path in out.iterdir()] == ["new"]
