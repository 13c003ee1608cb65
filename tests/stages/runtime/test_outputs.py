import errno
import fcntl
from pathlib import Path

import pytest

from stages.runtime import outputs
from stages.runtime.errors import UserError


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_is_replaced_by_what_was_written_and_only_when_the_block_ends(tmp_path):
    put(tmp_path / "out" / "old", "")
    with outputs.replaced(tmp_path / "out") as folder:
        put(folder / "new", "")
        assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path) == ["out", "out/new"]


def test_the_folders_around_an_output_are_made(tmp_path):
    with outputs.replaced(tmp_path / "deep" / "er" / "out") as folder:
        put(folder / "new", "")
    assert names(tmp_path) == ["deep", "deep/er", "deep/er/out", "deep/er/out/new"]


def test_a_folder_that_is_filled_keeps_what_has_another_name(tmp_path):
    for name in ("out/page", "out/curves/old", "out/own"):
        put(tmp_path / name, "old")
    with outputs.filled(tmp_path / "out") as folder:
        put(folder / "page", "new")
        put(folder / "curves" / "new", "new")
        assert (tmp_path / "out" / "page").read_text() == "old"
    assert names(tmp_path) == ["out", "out/curves", "out/curves/new", "out/own", "out/page"]
    assert (tmp_path / "out" / "page").read_text() == "new"


@pytest.mark.parametrize("write", [outputs.replaced, outputs.filled])
def test_an_error_leaves_the_output_as_it_was(write, tmp_path):
    put(tmp_path / "out" / "old", "")

    def stop() -> None:
        with write(tmp_path / "out") as folder:
            put(folder / "new", "")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert names(tmp_path) == ["out", "out/old"]


@pytest.mark.parametrize("write", [outputs.replaced, outputs.filled])
def test_an_error_leaves_no_folder_where_none_was(write, tmp_path):
    with pytest.raises(RuntimeError), write(tmp_path / "out"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_told_even_if_what_was_written_is_gone(tmp_path):
    def fail() -> None:
        with outputs.replaced(tmp_path / "out") as folder:
            folder.rmdir()
            raise KeyError("told")

    with pytest.raises(KeyError, match="told"):
        fail()


@pytest.mark.parametrize(
    ("write", "partial"), [(outputs.replaced, ".out.partial"), (outputs.filled, "out/.out.partial")]
)
def test_what_a_killed_run_has_left_is_removed(write, partial, tmp_path):
    put(tmp_path / partial / "deep" / "half", "")
    put(tmp_path / ".out.gone" / "old", "")
    with write(tmp_path / "out") as folder:
        assert names(folder) == []
        put(folder / "new", "")
    assert names(tmp_path) == ["out", "out/new"]


def test_a_file_takes_the_place_of_a_file_and_of_a_link_but_not_of_what_the_link_names(tmp_path):
    put(tmp_path / "elsewhere", "kept")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "out").symlink_to(tmp_path / "elsewhere")
    for text in ("one", "two"):
        put(tmp_path / "made", text)
        outputs.move(tmp_path / "made", tmp_path / "deep" / "out")
        assert (tmp_path / "deep" / "out").read_text() == text
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert names(tmp_path) == ["deep", "deep/out", "elsewhere"]


def test_a_folder_takes_the_place_of_a_file_and_of_a_link_without_an_end(tmp_path):
    put(tmp_path / "file", "")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out in ("file", "link"):
        put(tmp_path / "made" / "new", "")
        outputs.move(tmp_path / "made", tmp_path / out)
    assert names(tmp_path) == ["file", "file/new", "link", "link/new"]


def test_a_link_is_removed_and_what_it_names_is_not(tmp_path):
    put(tmp_path / "folder" / "kept", "")
    for take_away in (outputs.remove, outputs.delete):
        (tmp_path / "link").symlink_to(tmp_path / "folder")
        take_away(tmp_path / "link")
        take_away(tmp_path / "link")
    assert names(tmp_path) == ["folder", "folder/kept"]


@pytest.mark.parametrize(
    ("name", "is_left"),
    [(".out.partial", True), (".out.gone", True), ("out.partial", False), (".out", False), (".partial.out", False)],
)
def test_what_a_killed_run_has_left_is_known_by_its_name(name, is_left, tmp_path):
    assert outputs.is_left_over(tmp_path / name) == is_left


def test_a_finished_result_is_not_forgotten_while_another_run_works_beside_it(tmp_path):
    finished = tmp_path / "crop" / "w300" / "1" / outputs.FINISHED
    put(finished, "{}")
    with outputs.alone(tmp_path / "crop" / "w300" / outputs.LOCK, "w300"):
        outputs.forget(tmp_path, "crop", "w300")
        assert finished.exists()
    outputs.forget(tmp_path, "crop", "w300")
    assert names(tmp_path / "crop" / "w300") == [".lock"]


def test_a_disk_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(number: int, how: int) -> None:
        assert how == fcntl.LOCK_EX | fcntl.LOCK_NB
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with outputs.replaced(tmp_path / "out") as folder:
        put(folder / "new", "")
    assert names(tmp_path) == ["out", "out/new"]


def test_a_folder_that_another_run_moves_away_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    moved: list[int] = []

    def move_away_first(number: int, how: int) -> None:
        if not moved:
            moved.append(number)
            (tmp_path / ".out.partial").rename(tmp_path / "of another run")

    monkeypatch.setattr(fcntl, "flock", move_away_first)
    with outputs.replaced(tmp_path / "out") as folder:
        put(folder / "new", "")
    assert names(tmp_path) == ["of another run", "out", "out/new"]


@pytest.mark.parametrize("write", [outputs.replaced, outputs.filled])
def test_a_second_run_at_the_same_time_is_a_user_error_and_harms_nothing(write, tmp_path):
    with write(tmp_path / "out") as folder:
        put(folder / "new", "")
        with pytest.raises(UserError, match=r"another run works in .*/out: wait"), write(tmp_path / "out"):
            pass
        assert names(folder) == ["new"]
    with write(tmp_path / "out") as folder:
        put(folder / "newer", "")
    assert "out/newer" in names(tmp_path)
