import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from stages.runtime import outputs
from stages.runtime.errors import UserError
from stages.storage import journals


def test_the_fingerprint_depends_on_every_ingredient(tmp_path):
    base = journals.folder(tmp_path, "crop", "voxceleb1", "a", b"b")
    assert base == journals.folder(tmp_path, "crop", "voxceleb1", "a", "b")
    assert base.parent == tmp_path / "crop" / "voxceleb1"
    others = [("a", "c"), ("ab",), ("a", "b", "")]
    assert len({base, *(journals.folder(tmp_path, "crop", "voxceleb1", *some) for some in others)}) == 4


@pytest.mark.parametrize(
    ("name", "spec", "counts"),
    [
        ("fabnet.made", None, True),
        ("stages.made", None, True),
        ("elsewhere.made", None, False),
        ("started", "stages.made", True),
        ("started", "elsewhere.stages", False),
    ],
)
def test_the_fingerprint_depends_on_the_code_of_the_project_that_is_loaded(name, spec, counts, tmp_path, monkeypatch):
    module = ModuleType(name)
    module.__file__ = str(tmp_path / "made.py")
    module.__spec__ = ModuleSpec(spec, None) if spec else None
    (tmp_path / "made.py").write_text("made = 1")
    before = journals.folder(tmp_path, "crop", "w300")
    monkeypatch.setitem(sys.modules, name, module)
    assert (journals.folder(tmp_path, "crop", "w300") != before) == counts


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A result of an earlier run."""
    (tmp_path / "data" / "out").mkdir(parents=True)
    (tmp_path / "data" / "out" / "old").touch()
    return tmp_path / "data" / "out"


def write(out: Path, journal: Path, *, fail: bool = False, content: str = "", **options: bool) -> bool:
    """Whether there was something to do."""
    with journals.unfinished(journal, {journals.WHOLE: out}, **options) as is_due:
        if is_due:
            (journal / journals.WHOLE).mkdir(parents=True, exist_ok=True)
            (journal / journals.WHOLE / "new").write_text(content)
            (journal / "units").mkdir(exist_ok=True)
        if fail:
            raise KeyboardInterrupt
    return is_due


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_the_result_replaces_an_older_one_and_removes_its_journals(tmp_path, out):
    outdated = tmp_path / "crop" / "w300" / "2"
    outdated.mkdir(parents=True)
    write(out, tmp_path / "crop" / "w300" / "1", is_kept=False)
    assert names(out.parent) == ["out", "out/new"]
    assert names(tmp_path / "crop" / "w300") == [".lock"]


def test_a_finished_result_stays_in_its_journal_as_the_same_files(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    write(out, journal)
    assert names(journal.parent) == [".lock", "1", "1/finished.json", "1/whole", "1/whole/new"]
    assert (out / "new").samefile(journal / journals.WHOLE / "new")


def test_a_finished_result_whose_output_was_removed_is_taken_over_and_that_is_told(tmp_path, out, caplog):
    journal = tmp_path / "crop" / "w300" / "1"
    with caplog.at_level("INFO"):
        assert write(out, journal, content="a")
        assert caplog.text == ""
        shutil.rmtree(out)
        assert not write(out, journal, content="b")
    assert (out / "new").read_text() == "a"
    assert f"{out}: taken over, it was finished before" in caplog.text


def test_a_finished_result_is_made_again_where_it_must_not_be_taken_over(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    write(out, journal, content="a")
    assert write(out, journal, content="b", takes_over=False)
    assert (out / "new").read_text() == "b"


def test_a_finished_result_that_was_changed_since_is_made_again(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    write(out, journal, content="a")
    (out / "new").write_text("damage")
    (journal / journals.WHOLE / "more").touch()
    assert write(out, journal, content="a")
    assert (out / "new").read_text() == "a"
    assert names(out) == ["new"]


def test_a_damaged_file_is_put_aside_and_that_is_told(tmp_path, caplog):
    (tmp_path / "state.pt").write_text("half")
    with caplog.at_level("INFO"):
        journals.put_aside(tmp_path / "state.pt", "the state")
    assert (tmp_path / "state.pt.damaged").read_text() == "half"
    assert names(tmp_path) == ["state.pt.damaged"]
    assert f"the state is damaged: it is kept as {tmp_path / 'state.pt.damaged'}, and made again" in caplog.text


def test_a_finished_result_of_another_fingerprint_is_not_taken_over(tmp_path, out):
    write(out, tmp_path / "crop" / "w300" / "1", content="a")
    assert write(out, tmp_path / "crop" / "w300" / "2", content="b")
    assert (out / "new").read_text() == "b"
    assert not (tmp_path / "crop" / "w300" / "1").exists()


def test_a_finished_result_is_not_taken_over_to_another_place(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    write(out, journal, content="a")
    assert write(tmp_path / "elsewhere", journal, content="b")


def test_a_finished_result_is_forgotten_by_who_reads_the_output(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    write(out, journal)
    unfinished = tmp_path / "crop" / "w300" / "2"
    unfinished.mkdir()
    outputs.forget(tmp_path, "crop", "w300")
    assert names(journal.parent) == [".lock", "2"]
    assert (out / "new").exists()
    outputs.forget(tmp_path, "crop", "never run")
    assert not (tmp_path / "crop" / "never run").exists()


def test_a_result_on_a_disk_without_hard_links_is_copied(tmp_path, out, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("no hard links")

    monkeypatch.setattr("os.link", refuse)
    journal = tmp_path / "crop" / "w300" / "1"
    write(out, journal, content="a")
    assert (out / "new").read_text() == "a"
    assert not (out / "new").samefile(journal / journals.WHOLE / "new")


def test_a_second_run_at_the_same_time_is_a_user_error_and_harms_nothing(tmp_path, out):
    first, second = (tmp_path / "crop" / "w300" / name for name in "12")
    with journals.unfinished(first, {journals.WHOLE: out}):
        (first / journals.WHOLE).mkdir(parents=True)
        (first / journals.WHOLE / "new").touch()
        with pytest.raises(UserError, match=r"another run works in .*w300: wait"):
            write(out, second)
    assert names(out) == ["new"]


def test_a_stopped_run_keeps_its_journal_and_the_old_result(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    with pytest.raises(KeyboardInterrupt):
        write(out, journal, fail=True)
    assert names(out) == ["old"]
    assert (journal / journals.WHOLE / "new").exists()
    write(out, journal)
    assert names(out) == ["new"]


def test_what_a_killed_run_has_left_half_written_does_not_end_in_the_result(tmp_path, out):
    journal = tmp_path / "crop" / "w300" / "1"
    (journal / journals.WHOLE / "checkpoints").mkdir(parents=True)
    (journal / journals.WHOLE / "checkpoints" / ".1.safetensors.partial").write_bytes(b"half")
    write(out, journal)
    assert names(out) == ["checkpoints", "new"]
