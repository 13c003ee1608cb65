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
def test_what_a_killed_run_has_left_is_removed(write, tmp_path):
    put(tmp_path / ".out.partial" / "deep" / "half", "")
    put(tmp_path / ".out.gone" / "old", "")
    with write(tmp_path / "out") as folder:
        assert names(folder) == []
        put(folder / "new", "")
    assert names(tmp_path) == ["out", "out/new"]


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
