from pathlib import Path

import pytest

from pipelines.own import sources
from stages.runtime.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.JPG", "a.mp4", "notes.md", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(folder, *named):
    return [path.relative_to(folder).as_posix() for path in sources.files([folder / name for name in named])]


def test_a_folder_stands_for_its_images_and_videos_by_name(folder):
    assert names(folder, "") == ["a.mp4", "b.JPG", "deep/c.png"]


def test_a_file_that_is_named_twice_is_read_once(folder):
    assert names(folder, "b.JPG", "", "a.mp4") == ["b.JPG", "a.mp4", "deep/c.png"]


def test_a_text_list_names_one_file_a_line_beside_itself(folder):
    (folder / "list.txt").write_text("deep/c.png\n\n my clip, 2.mp4 \n", encoding="utf-8")
    assert names(folder, "list.txt") == ["deep/c.png", "my clip, 2.mp4"]


@pytest.mark.parametrize(
    "text",
    ["a.mp4\ndeep/c.png\n", "a.mp4,desk\ndeep/c.png,door\n", "camera,File\ndesk,a.mp4\ndoor,deep/c.png\nbroken\n"],
)
def test_a_csv_names_files_in_the_column_of_its_header_or_in_the_first(folder, text):
    (folder / "list.csv").write_text(text, encoding="utf-8")
    assert names(folder, "list.csv") == ["a.mp4", "deep/c.png"]


@pytest.mark.parametrize(
    ("name", "sentence"), [("gone.mp4", "does not exist"), ("empty", "found none"), ("empty.txt", "found none")]
)
def test_missing_and_empty_names_are_user_errors(tmp_path, name, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UserError, match=sentence):
        sources.files([tmp_path / name])


def test_no_name_is_a_user_error():
    with pytest.raises(UserError, match="no file is named"):
        sources.files([])


def test_a_name_that_the_system_refuses_is_not_there():
    assert not sources.is_there(Path("a" * 300))
